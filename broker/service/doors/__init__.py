"""Guards the doors of the process against strangers who hold connections.

Open `web_gate.py` first (how many web connections whom), then `http_protocol.py` (deadlines of a request) and
`descriptors.py` (the reserve that every listener leaves). `backlog.py` warns at the start of a system that lets too few
connections wait, `open_files.py` of files with secrets.
"""
