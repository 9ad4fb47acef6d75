"""Connects commands to the running broker, to its database, or to a DICOM peer.

Open `running.py` first (ask the broker, or do the same without one), then `control.py` (its socket and database),
then `target.py` (DICOM peers).
"""
