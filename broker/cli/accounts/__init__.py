"""Commands about who may come in: `users.py` for people, `tokens.py` for programs."""
