"""How commands reach somebody: the running broker, its database, or a DICOM peer.

Open `running.py` first (ask the broker, or do the same without one), then `control.py` (its socket and database),
then `target.py` (DICOM peers).
"""
