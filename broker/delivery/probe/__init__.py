"""Tests a node from where the broker stands: name, connection, TLS, association, echo, what it takes.

Open `node_probe.py` first (runs a test, one at a time for each node), then `dicom_probe.py` and `hl7_probe.py` (the
steps of each wire), `network_probe.py` (the steps that both share) and `outcome.py` (what a step says).
"""
