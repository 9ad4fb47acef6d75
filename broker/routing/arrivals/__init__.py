"""Does what is due once for a study, with the first of its objects, so that the others cost nothing.

`registering.py` notes the study, `news.py` tells the RIS that its images arrive.
"""
