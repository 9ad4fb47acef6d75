"""Keeps performed procedure steps: the value is `model/performed.py`.

Open `performed_steps.py` first (state, messages, links). `objects.py` has the objects that a step lists, `overdue.py`
the steps that nobody ended, `passing.py` the messages that are passed on.
"""
