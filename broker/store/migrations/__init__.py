"""Migration scripts, applied in order at start. See `broker.store.migrate`."""
