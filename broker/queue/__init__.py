"""The one durable queue: claim, lease, fence, back-off, breaker, lanes. `service` registers a handler per kind."""
