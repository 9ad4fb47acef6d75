"""From message to order: mapping profiles, intake, life cycle, identifiers."""
