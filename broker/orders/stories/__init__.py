"""Carries out what messages, people and other servers ask of orders; one story per file, each in one transaction.

Open first: `intake` (a message as a whole), `ordering` (one order change), `writing` (how all stories write an order).
A story reads, lets `orders.core` decide, and writes. Nothing else in `orders` has a connection, but for `telling`.
"""
