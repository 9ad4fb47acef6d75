"""Holds the upper layer below the association: connection, PDUs, negotiation, state machine (PS3.8).

Open `states` first (what follows from what), then `connection` (whole PDUs over TCP or TLS) and `pdu` (their bytes).
`negotiation` and `user_information` read and write A-ASSOCIATE. `admission` and `limits` say who may come and how
often.
"""
