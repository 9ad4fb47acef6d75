"""From instance to plan: an object is received, judged by the rules in force, and stored with one job per destination.

Open `reception.py` first (an object from its first byte to the decision), then `recording.py` (its transaction), then
`rules.py` and `evaluate.py` (what a rule is, and how it is evaluated), then `site.py` and `editing.py` (how nodes and
rules are kept in force and changed).
"""
