"""Worklist items, foreign worklist servers and clients, and a reference matcher."""
