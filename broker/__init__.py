"""Modality worklist and RIS integration broker. Start reading at broker/README.md."""

__version__ = "0.1.0"
