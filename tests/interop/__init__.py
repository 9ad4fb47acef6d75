"""The interoperability matrix."""
