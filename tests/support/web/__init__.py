"""Drives pages in a real browser: `browser.py` (one Chromium), `looking.py` (what every page must be)."""
