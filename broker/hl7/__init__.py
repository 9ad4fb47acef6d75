"""The HL7 v2 wire: MLLP, messages, acknowledgements, character sets. Knows nothing of orders.

Open `mllp/server.py` first (bytes to messages, by `mllp/framing.py`), then `message.py` (text to values by path) and
`acknowledgement.py` (the answer, by `writer.py`). `fields.py` and `codes.py` name field numbers and codes of tables.
`work.py` says how much one frame may ask for.
"""
