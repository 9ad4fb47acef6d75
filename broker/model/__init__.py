"""Says what an order, a performed step and a lane of the queue are: frozen values and enums, without input or output.

`order.py` holds orders as they are stored, `performed.py` Modality Performed Procedure Steps, `lane.py` the names of
lanes and the kinds and states of jobs. The database stores the values of these enums; they never change.
"""
