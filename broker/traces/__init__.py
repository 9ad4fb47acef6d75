"""Traces of the work for an OpenTelemetry collector, if `[traces]` asks for them.

Open `spans.py` first (what doors and lanes call), then `exporting.py`, then `exporter.py`.
"""
