"""Mapping profiles: which HL7 field becomes which DICOM attribute, and the site's decisions about what is missing.

Open `ihe.toml` first: it explains the format and is the profile of every site. Then `profile.py` (the values) and
`parsing.py` (a document becomes a profile). `data_types.py` turns HL7 data types into values of DICOM, `stations.py`
chooses the station of a step, `book.py` the profile of a sender.
"""
