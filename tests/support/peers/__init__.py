"""Foreign programs as peers."""
