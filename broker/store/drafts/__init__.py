"""Rows of rules that are not in force yet.

Open `rule_drafts.py` first (one draft of each author), then `rule_plans.py` (versions that come into force at a time).
"""
