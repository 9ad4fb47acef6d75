"""Shared by the tests: foreign tools, the real binary under test, objects and messages to send."""
