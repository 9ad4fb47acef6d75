"""Migration scripts, applied in order at start. See `broker.store.db.migrate`."""
