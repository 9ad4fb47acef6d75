"""Decides who may come in: users, sessions, passwords, links, OpenID Connect; roles with rights; API tokens.

Open `roles.py` first (what each role may), then `signing_in.py` (how a person comes in), `users.py` and `sessions.py`.
`api_tokens.py` is for programs.
"""
