"""Documents that admins edit while the broker runs: nodes, rules, mapping profiles.

Open `in_force.py` first: how a document is checked, published and taken over by every process. `watch.py` looks for
what other processes have published. `difference.py` says in words what differs between two versions.
"""
