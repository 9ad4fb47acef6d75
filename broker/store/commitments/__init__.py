"""Keeps requests for storage commitment: those of modalities, and ours to archives. Open `requests.py` first."""
