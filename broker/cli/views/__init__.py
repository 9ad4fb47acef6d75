"""Prints the results of commands: `hl7_view.py` for `broker hl7`, `send_view.py` for `broker send`."""
