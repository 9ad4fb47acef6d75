"""Tools that a person uses by hand beside a running broker: echo, send DICOM files, send HL7 messages.

Only the command line uses them. Open `echo.py` first, then `send.py` (with `files.py`, which reads ahead, and
`send_report.py`, which counts), then `hl7_send.py`.
"""
