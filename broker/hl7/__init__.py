"""The HL7 v2 wire: MLLP, messages, acknowledgements, character sets. Knows nothing of orders."""
