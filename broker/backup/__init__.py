"""Copies all that the broker keeps while it works, proves that a copy is good, and puts it back.

Open `making.py` first, then `restoring.py`. A copy is a folder that looks as the data folder does, with a manifest.
"""
