"""Structure-aware fuzzing of the doors: PDUs, command sets and data sets of DICOM (DS-14), HL7, HTTP and REST (HT-04).

`run.py` says how. Cases are made by `*_cases.py` and told to a door by `harness.py`, without sockets. `sockets.py`
tells such to a broker in a process of its own.
"""
