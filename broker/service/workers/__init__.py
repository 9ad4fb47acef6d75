"""Further processes of `[service] workers`, which receive and answer on the same DICOM ports.

Open `workers.py` first (the first process starts and hears them), then `worker.py` (such a process), then `channel.py`
(what both say to each other).
"""
