"""REST of worklists: what a device sees and why, the board of a day, exams that nobody will see.

Open `looking.py` first.
"""
