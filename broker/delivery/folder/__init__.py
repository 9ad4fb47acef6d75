"""Writes objects as DICOM files into a folder (PS3.10): names by a template, whole files only.

Open `folder_sender.py` first, then `naming.py` (safe names of values that came over a network) and `landing.py` (the
order of system calls, and what an error of the file system means).
"""
