"""Tells a RIS of its orders by HL7 messages, one at a time, each until it is answered.

Open `sender.py` first: what is sent when, and what becomes of the job. `outbound.py` builds the messages,
`answers.py` reads what the RIS answers.
"""
