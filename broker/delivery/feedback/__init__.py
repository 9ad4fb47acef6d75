"""Feedback to a RIS: HL7 messages on orders, one at a time, each until it is answered."""
