"""MLLP: connections of senders and to receivers, frames, TLS (HL7 v2.5.1 appendix C).

Open `server.py` first: bytes to messages (`framing.py`), who is let in (`broker/seats.py`), how it ends (`parting.py`).
`secure.py` is its TLS side, `client.py` the other end.
"""
