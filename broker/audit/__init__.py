"""The audit trail above its table: what is written behind, and how it leaves as a file.

Open first: `book` (rows of views wait here until they are written), `kept` (over a restart without a database),
then `export` (CSV and JSON lines).
"""
