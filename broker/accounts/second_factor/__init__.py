"""The second factor of local accounts: codes of an app (TOTP), and recovery codes in its place.

Open `factors.py` first (what is set up, changed and taken away), then `totp.py` (the codes) and `seal.py` (how secrets
are kept).
"""
