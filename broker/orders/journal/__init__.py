"""Shows people what messages said and did, and lets them deal with those that were refused.

Open `reading.py` first: one message with all that is known of it. `anatomy.py` takes it apart by segment and field,
`finding.py` finds the messages of an exam or a patient by what somebody types, `dealing.py` marks refused messages,
`sending.py` tells a RIS again.
"""
