"""Tells a RIS about its orders by HL7, one message at a time, each until it is answered.

Open `sender.py` first: it sends. `outbound.py` writes the message, `answers.py` decides what its answer means.
"""
