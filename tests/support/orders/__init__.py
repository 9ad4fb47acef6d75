"""Orders as tests place them."""
