"""What modalities say of performed procedure steps, passed on to other systems and told to subscribers."""
