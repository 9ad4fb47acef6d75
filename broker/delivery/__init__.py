"""From plan to proof: senders per kind of destination."""
