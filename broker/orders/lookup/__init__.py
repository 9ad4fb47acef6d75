"""Finds what a message means among what is stored, and writes nothing.

Read `recognizing` first (an authority by any of its names), then `matching` (the step that something performed
means) and `several` (the order that a number of several means).
"""
