"""The real binary with a configuration of its own."""
