"""Messages, and a receiver of them."""
