"""Gathers what `broker.status` judges: from doors, lanes, disks, the journal, housekeeping and the metrics.

Open `gathering.py` first (all facts of one moment), then `counting.py` (what the database is asked, and how often).
`senders.py` and `disks.py` keep over a restart how often each sender sends and how full the disks were.
"""
