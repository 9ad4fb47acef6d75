"""Performed procedure steps as modalities send them."""
