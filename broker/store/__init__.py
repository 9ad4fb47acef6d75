"""What must survive: tables, the one writer, read connections, the spool. No table object leaves this floor."""
