"""Keeps what must survive, in the database and the spool. SQL stands here only; no table object leaves this floor.

Open `db/database.py` first: `submit` runs a function in a transaction, `read` runs one on a reading connection. The
functions stand in the rooms, one module per subject; each takes the connection as its first argument. `schema` has the
tables, `jobs.py` the rows of the queue, `orders`, `worklist`, `mpps` and `images` what their names say.
"""
