"""An audit repository for tests: it receives syslog messages and checks audit messages by their schema."""
