"""REST of studies: find them, show one with what each destination has, send one again or elsewhere.

Open `studies.py` first; `bodies.py` says what is asked and answered.
"""
