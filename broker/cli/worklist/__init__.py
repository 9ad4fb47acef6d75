"""`broker worklist`: what a device sees and why (`showing.py`, `explaining.py`), imports of others (`importing.py`)."""
