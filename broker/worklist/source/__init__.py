"""Imports the worklist of other servers as orders.

Open `source_schedule`, which starts an import, then `source_import`, which runs one. `asking` writes the queries and
reads the answers, `order_document` makes an order of an answer, `account` counts what became of them.
"""
