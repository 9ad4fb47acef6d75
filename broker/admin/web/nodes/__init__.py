"""The pages of nodes: all of them, one with its test, the form of one, devices that knock, history.

Open `overview.py` first (the list), then `detail.py` (one node), then `form.py` (add and edit). `words.py` has what the
pages share.
"""
