"""Keeps the audit trail: who did or saw what of which object, when, and from where.

Open first: `adding` (append a row), then `trail` (find rows, page by page).
"""
