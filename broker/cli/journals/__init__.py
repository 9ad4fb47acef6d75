"""Commands that show what was recorded: `messages` for received HL7 messages, `audit` for the audit trail."""
