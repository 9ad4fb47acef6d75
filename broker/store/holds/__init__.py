"""Finds what waits for a person. Begin with `waiting.py`: jobs and objects as one list."""
