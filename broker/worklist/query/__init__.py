"""Reads a query and decides which steps match it. Pure.

Open `keys` for the values, `parse` for the way from an identifier to them, then `matcher`, which decides, and
`criteria`, which tells SQL what it can leave out.
"""
