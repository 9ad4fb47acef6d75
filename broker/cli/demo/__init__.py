"""`broker demo`: a real broker with a virtual hospital around it, which checks every image.

Open `demo.py` first (the run and its own statement of the rules), then `demo_broker.py` (the broker as a child process
and its configuration), then `demo_view.py` (what is printed).
"""
