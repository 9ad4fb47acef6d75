"""Shows what the broker does by itself to keep its house. Open `retention.py` first (what is deleted next)."""
