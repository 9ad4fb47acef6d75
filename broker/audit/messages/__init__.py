"""Audit rows as messages for an audit repository (PS3.15 A.5, IHE ITI-20). Pure.

Open first: `meaning` (which message a row becomes), then `xml` (the message) and `syslog` (its envelope).
"""
