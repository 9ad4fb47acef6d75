"""Tries messages by a mapping profile without storing anything, or runs stored ones again.

Open `preview.py` first: what a message would come to. `explanation.py` adds where each value comes from, `examples.py`
runs the examples of a profile, `replay.py` runs messages of the journal again. `draft.py` checks the draft of a
profile, `changes.py` says which messages it would change.
"""
