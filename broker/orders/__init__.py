"""Turns messages and documents into orders, and keeps their life cycle.

Open `listener.py` first, the door of HL7; then `stories/intake.py`, one message as one transaction, and `core/plan.py`,
what an order change makes of a stored order. `inbound` reads HL7 by the profiles of `mapping`, `documents` reads JSON,
`telling` enqueues what a RIS is to hear, `trying` previews and explains.
"""
