"""`broker import`: orders from files."""
