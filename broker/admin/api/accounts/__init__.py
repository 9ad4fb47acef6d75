"""REST of who may come in: `users.py` for people, `sessions.py` for where they are signed in, `tokens.py` for programs."""
