"""Times of the week, for rules and for the send windows of destinations (`opening.py`). Pure."""
