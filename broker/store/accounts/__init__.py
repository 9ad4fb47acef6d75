"""Keeps who may come in: users, sessions, second factors, links, tries, API tokens. Secrets only as hashes, or sealed.

Open `users.py` first, then `sessions.py`.
"""
