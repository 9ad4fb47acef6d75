"""REST of who may come in.

Open `users.py` first, then `sessions.py` (where people are signed in) and `tokens.py` (for programs).
"""
