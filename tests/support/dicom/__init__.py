"""Peers that speak DICOM, and objects to send."""
