"""trying."""
