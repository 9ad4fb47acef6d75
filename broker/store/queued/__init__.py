"""Reads and steers the jobs that wait, of which there may be millions. Open `waiting_jobs.py` first.

`shapes.py` counts them by age for each lane, `pauses.py` knows the nodes that a person has paused, `steering.py` makes
waiting jobs due, moves them or gives them up.
"""
