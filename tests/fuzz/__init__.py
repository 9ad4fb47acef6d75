"""Structure-aware fuzzing of the DICOM wire (DS-14): PDUs, command sets, data sets. `run.py` says how."""
