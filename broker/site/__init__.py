"""The systems around the broker: nodes, how devices are served, and devices that knock without being known.

Open `nodes.py` first (the `[[node]]` tables of site.toml as values), then `directory.py` (the nodes in force, and who
may call), then `admitting.py` (a device that knocked becomes a node). `contacts.py` knows when a node was last heard.
"""
