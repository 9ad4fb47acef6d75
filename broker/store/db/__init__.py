"""Opens the database, runs transactions and queries on it, brings its schema up to date.

Open `database.py` first: but for `pace.py` (long work in small steps) nothing else of this room is used outside the
store. Then `writer.py`, which makes one commit of many units on SQLite, `engine.py` (durable connections, errors),
`prepared.py` (hot statements), `migrate.py`.
"""
