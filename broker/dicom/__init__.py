"""The DICOM wire: upper layer (PS3.8), DIMSE (PS3.7), provider (SCP), user (SCU). Knows no orders."""
