"""Says what a routing rule is, and evaluates a rule set over the facts of an object. Pure: no I/O.

Open `ruleset.py` first (the values), then `evaluate.py` (what a rule set decides), `fields.py` and `tag_paths.py` (what
a rule may test), `comparing.py` (how each operator compares), `parsing.py` and `conditions.py` (from tables to rules).
"""
