"""Keeps who may come in: users, their sessions and links, tries to sign in, API tokens. Secrets only as hashes.

Open `users.py` first, then `sessions.py`.
"""
