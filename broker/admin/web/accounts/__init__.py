"""The pages of who may come in.

Open `sign_in.py` first, then `me.py` (the own account), `users.py` and `tokens.py`.
"""
