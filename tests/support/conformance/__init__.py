"""Reads conformance statements as REST and `broker conformance --json` give them."""
