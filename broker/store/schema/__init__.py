"""Defines all tables of the product. Migrations follow them, and a test compares both.

Open `tables.py` first: it has the tables of queue, images and messages, and every other
table by name.
"""
