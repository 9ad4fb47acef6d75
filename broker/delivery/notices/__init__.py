"""Tells nodes that rules acted: by a webhook or by mail.

Open `notice_sender.py` first (the handler of the lanes), then `wording.py` (what a notice says), `webhook_sender.py`
and `mail_sender.py` (how it goes, and what an answer means).
"""
