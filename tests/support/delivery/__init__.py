"""Objects that are delivered, and where to."""
