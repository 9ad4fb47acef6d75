"""Simulates a RIS, modalities and PACS around a broker. They speak over the network and know nothing of its inside.

Open `hospital`, which runs them all, then `modality` and `pacs`. `stations` and `orders` are their data, `messages` and
`objects` what they send; `report` compares what was sent with what arrived. `sink_faults` says how a PACS fails.
"""
