"""Decides about orders, without a database and without HL7 syntax.

Open first: `values` (what a message asks for), `lifecycle` (status of a step, and what an order control code may do to
it), `plan` (what a change makes of the stored order). `identifiers` says where missing identifiers come from,
`worklist_item` makes the answer to a worklist query.
"""
