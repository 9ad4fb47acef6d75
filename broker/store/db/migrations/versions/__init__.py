"""One script per schema version. See `broker.store.db.migrate`."""
