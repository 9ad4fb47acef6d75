"""Reads orders from files for `broker import`, and places them.

Open `run.py` first: how files become orders in the broker. Then `sheet.py` (CSV), `dump.py` (text of data sets) and
`worklist_file.py` (`.wl`) for the formats; `view.py` prints the summary.
"""
