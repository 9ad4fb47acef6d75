"""Says how the broker is: what it knows of itself as values, and the one verdict that all who ask are told.

Open `judging.py` first (what makes a broker well, degraded or down), then `facts.py` (what is known). `rhythm.py`
decides whether a sender is silent, `forecast.py` when a disk will be full, `rates.py` counts by the minute. Pure.
"""
