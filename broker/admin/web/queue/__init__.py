"""The page of the queue: what waits by destination and age, job by job, and what a person can do with it.

Open `page.py` first. `lanes.py` puts destinations into words, `waiting.py` jobs, `told.py` what became of them.
`plot.py` draws the last hours.
"""
