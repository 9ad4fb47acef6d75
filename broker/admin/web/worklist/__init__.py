"""The pages of worklists: the board of a day, what a device sees now, exams that nobody will see.

Open `overview.py` first.
"""
