"""Finds exams by what people search them by, and reads what is stored around one.

Open first: `search` (which exams match), `lines` (what a list shows of them).
"""
