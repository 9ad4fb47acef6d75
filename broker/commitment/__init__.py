"""Storage commitment (PS3.4 annex J): modalities ask for it, destinations prove it. Open `deciding.py` first.

`scp.py` is the door of modalities, `walk.py` judges what they asked for, `commitment_sender.py` tells them the result.
"""
