"""The pages of rules: those in force, drafts and what they would do, a trial, the history.

Open `overview.py` first (the rules in force), then `draft.py` (a draft until it is in force), then `editor.py` (one
rule of it, with its condition as a tree). `words.py` has what the pages share.
"""
