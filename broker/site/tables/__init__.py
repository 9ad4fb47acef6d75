"""The table `[[node]]` of site.toml: which keys a kind of node has, and what goes together.

Open `node_table.py` first, for what goes together; `node_keys.py` has the keys. `site.nodes` makes values of what it
has checked.
"""
