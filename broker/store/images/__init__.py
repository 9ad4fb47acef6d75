"""Keeps received objects: their rows and their bytes.

Open `instances.py` first (rows, versions of an object, purging), then `spool.py` (files on stable storage).
"""
