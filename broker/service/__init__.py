"""Puts the broker together: build, start, stop, signals, housekeeping, health."""
