"""Built-in mapping profiles, as data."""
