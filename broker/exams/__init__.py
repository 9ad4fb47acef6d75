"""Finds exams for people, and tells the story of one.

Open first: `finding` (a search by what a person types).
"""
