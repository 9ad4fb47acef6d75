"""Works off the durable queue: one worker per lane, leases, retries, breakers, holds.

Open `dispatcher.py` first: its docstring is the table of what a failure does to a job and to its lane. Then `feed.py`,
which a handler takes its jobs from, and `retry_policy.py`, which says how long to wait. The rows are in
`store/jobs.py`, the names of lanes in `model/lane.py`, the handlers in `delivery`.
"""
