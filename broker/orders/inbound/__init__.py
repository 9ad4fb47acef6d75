"""Messages of a RIS become changes. Pure: nothing is read from or written to the database.

Open `reception.py` first: it checks MSH and says which module reads which message. Then `orm.py`, which reads
orders, `reader.py`, which reads one section of a profile from some segments, and `making.py`, which makes orders of
what was read. The others read ADT, SIU and ORU.
"""
