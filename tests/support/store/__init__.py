"""Databases of any size, and databases that are away."""
