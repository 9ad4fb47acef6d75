"""Completes the OpenAPI document: how operations refuse, and a body for each that takes one.

Open `document.py` first, then `examples.py`.
"""
