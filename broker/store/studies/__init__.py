"""Studies of which objects were received: found, counted by destination, sent again. Open `finding.py` first.

`registering.py` writes their rows with their first object, `counting.py` says how far their objects are, `objects.py`
finds these one by one. `summaries.py` puts it together for who shows studies.
"""
