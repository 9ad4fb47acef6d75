"""Bytes of HL7 v2 messages to text and back: names of character sets, code extension, sets that were not stated.

Open `decoding.py` first: it decides by which set a message is read. `labels.py` knows the names of sets, `charset.py`
reads and writes a set, `iso2022.py` its extension by escapes. `plausibility.py` compares readings, `strays.py` finds
what is no text.
"""
