"""Says what an order, a performed step and a lane of the queue are: frozen values and enums, without input or output.

Open first `order.py`, which holds orders as they are stored, then `performed.py` (Modality Performed Procedure Steps)
and `lane.py` (names of lanes, kinds and states of jobs). The database stores the values of these enums; they never
change.
"""
