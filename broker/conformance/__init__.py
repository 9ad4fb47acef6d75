"""Writes the DICOM conformance statement of this broker by the outline of PS3.2, from its code and its configuration.

Open `building.py` first: it lists the sections, each made by a module that reads the tables which the doors read too.
`statement.py` says what a statement is; `markdown.py` and `web_text.py` write it.
"""
