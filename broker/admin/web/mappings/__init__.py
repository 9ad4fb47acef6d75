"""The pages of mapping profiles: all of them, one with its text, its history, and the editor of a draft.

Open `overview.py` first (the list), then `draft.py` (the editor). `words.py` has what the pages share.
"""
