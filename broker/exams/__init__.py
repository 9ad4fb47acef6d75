"""Finds exams for people, and tells the story of one.

Open first: `finding` (a search by what a person types), then `story` (what happened to an exam, in its parts `traffic`
and `sightings`).
"""
