"""Copies a whole database while it is used, and puts a copy back. Open `database_copy.py` first."""
