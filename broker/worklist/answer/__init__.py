"""Encodes the answers of a query (`encoder`), and keeps them for the next query that is the same (`cache`)."""
