"""REST of HL7 messages: the journal in and out, what a person does of refused ones, feedback of an order.

Open `journal.py` first.
"""
