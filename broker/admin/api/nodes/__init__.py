"""Nodes over REST: one at a time, the devices that knock, and tests.

Open `nodes.py` first (list, show, add, change, disable, block, remove), then `knocking.py` (admit, block, forget), then
`node_tests.py`. `once.py` lets a change that is sent again have no second effect. The document of all nodes with its
history is `admin/api/routing/site.py`.
"""
