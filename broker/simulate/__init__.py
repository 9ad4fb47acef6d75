"""A virtual RIS, modalities and PACS. They speak only over the wire and know nothing of the broker's inside."""
