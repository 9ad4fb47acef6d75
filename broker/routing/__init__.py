"""From instance to plan: an object is received, judged by the rules in force, and stored with one job per destination.

Open `reception.py` first (an object from its first byte to the decision), then `recording.py` (its transaction), then
`rules/evaluate.py` (how rules decide), then `site.py` and `editing.py` (how nodes and rules are kept in force and
changed), then `holding.py` (what a person does with objects that wait). What was decided, and why: `hindsight/`.
"""
