"""Works off the lanes of the queue: sends to a peer, waits for its answer, reports to the queue what became of the job.

Open `image_sender.py` first (C-STORE), then `outcome.py`: the table of what a DIMSE status means for the job. Then
`object_sender.py` (folders and DICOMweb services, with the rooms `folder` and `web`),
`mpps_sender.py` (N-CREATE, N-SET, N-EVENT-REPORT) and the room `feedback` (HL7). What a failure does to lane and job
stands in `queue/dispatcher.py`.
"""
