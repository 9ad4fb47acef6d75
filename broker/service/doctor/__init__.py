"""`broker doctor`: looks at the machine and the settings, and says what an operations engineer should change.

Open `checks.py` first (the list of checks, and what each of them says), then `machine.py` (what the system tells).
"""
