"""REST about where objects go: nodes and rules as documents, rules that are tried, work and objects that are held.

Open `site.py` first (documents with versions), then `rules.py` (what rules do with an object), `holds.py` (jobs that
wait for a person), `held_objects.py` (objects that do) and `waiting.py` (both in one list).
"""
