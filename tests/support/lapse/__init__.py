"""A hospital in time-lapse: its days pass one after the other, and the clock of what is stored moves with them.

Open `ward.py` first (a broker in this process whose clock is set), then `day.py` (what comes in a day, by the product's
own doors), `copies.py` (the same many times, in SQL) and `kept.py` (what must be there by the retention).
"""
