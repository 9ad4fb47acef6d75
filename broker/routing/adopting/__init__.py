"""Takes files that no row of the database knows back through reception, as if their senders had sent them now.

Open `adoption.py` first (a part of it, told to whoever asked), then `one_file.py` (what becomes of a file), `walk.py`
(the files of a folder, in an order that is kept), `places.py` (which folders may be named, and by whom).
"""
