"""Stores objects as DICOM files in buckets of S3-compatible storage (PS3.10).

Open `s3_sender.py` first, then `s3_answer.py` (what an answer means) and `signing.py` (who we are to the storage).
"""
