"""Reads the files of `deploy/` for the tests."""
