"""Serves the requests of a command while no broker runs, on its database and under its lock.

Open `offline.py` first (the routes that need no broker), then `own_door.py` (files go in without one).
"""
