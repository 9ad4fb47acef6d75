"""Speaks DICOM over the network: upper layer (PS3.8), messages (PS3.7), data sets (PS3.5). Knows no orders.

Open `association/provider.py` for requests that come, `association/user.py` for requests of ours. `wire` holds the
bytes, PDUs and the state machine, `dimse` the messages, `dataset` the encoded data sets; `uids.py` names the UIDs.
"""
