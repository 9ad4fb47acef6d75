"""Documents that admins edit while the broker runs: nodes, rules and mapping profiles, as immutable versions.

Open `in_force.py` first (how a document is checked, published and taken over by every process), then `watch.py` (how a
process notices what others published), then `difference.py` (what differs between two versions, in words;
`text_difference.py`: of two texts, by lines).
"""
