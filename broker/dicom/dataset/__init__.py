"""Reads and writes encoded data sets: with `dicom.conversion` all that knows VRs, delimiters and headers (PS3.5).

Open `encoding` for the tables, then `walk`, on which all readers stand. `scan` measures objects that arrive, `read`
decodes queries and performed steps, `write` encodes documents.
`charset` and `transliterate` turn text into bytes and back. `part10` and `file_pieces` deal with files.
"""
