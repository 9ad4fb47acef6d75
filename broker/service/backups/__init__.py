"""The backups that a running broker makes by itself: `daily.py` says when one is due, and starts it."""
