"""Pages of performed procedure steps: the list, and one with what a person decides about it.

Open `overview.py` first.
"""
