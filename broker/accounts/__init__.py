"""Decides who may come in: users, sessions, passwords, second factors, links, OpenID Connect; roles; API tokens.

Open `roles.py` first (what each role may), then `signing_in.py` (how a person comes in), `users.py` and `sessions.py`.
`second_step.py` ends a sign-in by a second factor (`second_factor/`), `own_factor.py` lets a person set one up.
`api_tokens.py` is for programs.
"""
