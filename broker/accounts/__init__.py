"""Roles with their rights, and the tokens by which programs prove who they are.

Open `roles.py` first (what each role may), then `api_tokens.py` (made, checked, revoked).
"""
