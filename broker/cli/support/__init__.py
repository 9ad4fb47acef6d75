"""Makes the support bundle. Open `bundle.py` first (the command), then `parts.py` (what is in it), then `hiding.py`."""
