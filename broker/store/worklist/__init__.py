"""Finds the steps that a worklist query may be answered with.

Open `candidates.py` first: it makes one indexed statement per page. `outage.py` runs the same statement on a copy while
the database is away; `outage_keeper.py` makes the copy. `device_queries.py` remembers what devices asked.
"""
