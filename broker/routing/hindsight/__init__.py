"""Looks back: what rules did with the objects of a study, and what other rules would do with those of past days.

Open `explaining.py` first (what was decided, and why), then `replaying.py` (a draft beside the rules in force).
"""
