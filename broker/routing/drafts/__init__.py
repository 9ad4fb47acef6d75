"""Rules that are not in force yet: drafts of people, versions that come into force at a time, the four eyes principle.

Open `rule_drafts.py` first (a draft from its first change to its activation), then `rule_plans.py` (activation at a
time), then `four_eyes.py` (nobody puts in force what he wrote himself).
"""
