"""Sends over HTTP: what all of that shares, and objects to DICOMweb services (PS3.18).

Open `stow_sender.py` first, then `stow_answer.py` (what an answer means), `credentials.py` (who we are to a service)
`service_sender.py` (connections, also of buckets) and `http_parts.py` (shared with webhooks).
"""
