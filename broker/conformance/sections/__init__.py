"""Makes the sections of the conformance statement, a module for each chapter or large section of PS3.2's outline.

Open `associations.py` first: presentation contexts as the doors accept and the senders propose them. Pure.
"""
