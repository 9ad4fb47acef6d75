"""Reads the journal of HL7 messages, received and sent, as one, and keeps what was sent and
what was dealt with.

Open `listing.py` first: a page of the journal by filters. `linked.py` leads from orders and patients to messages, and
back.
"""
