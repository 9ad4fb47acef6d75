"""The pages of HL7 messages: the journal in and out, one message, what a person does of it.

Open `journal.py` first, then `detail.py`.
"""
