"""The queue with scripted handlers."""
