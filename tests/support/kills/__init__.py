"""A broker under mixed load that is killed again and again; open `kills.py` first, then `peers.py` and `account.py`."""
