"""Reads and writes patients, orders and steps, what waits for them, and the journal of messages.

Open first: `reading` (find and load an order, locks), then `saving` (write one, with its event log and audit trail).
"""
