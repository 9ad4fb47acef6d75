"""Wiring: builds the broker from settings, starts, stops and watches it. Features live in the rooms below.

Open `serve.py` first (a process from start to signal), then `broker.py` (the parts, and the order in which they start
and stop), then `imaging.py` and `messaging.py` (the DICOM and the HL7 listeners). `workers/` holds further processes.
"""
