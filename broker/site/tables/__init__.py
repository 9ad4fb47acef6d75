"""The table `[[node]]` of site.toml: which keys a kind of node has, and what goes together.

Open `node_table.py` first. `site.nodes` makes values of what it has checked.
"""
