"""REST of who may come in.

Open `users.py` first, then `sessions.py` (where people are signed in), `own_factor.py` (the second factor of
who asks) and `tokens.py` (for programs).
"""
