"""The hospital around us: nodes, and devices that knock without being known."""
