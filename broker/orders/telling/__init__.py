"""Tells a RIS what has happened to its orders.

Open first: `feedback` (which changes are told, and to whom), then `notices` (puts a job per node into the queue, in the
transaction of the change). `delivery.feedback` writes and sends the messages.
"""
