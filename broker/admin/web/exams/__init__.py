"""The pages of exams: the search, and one exam with its story.

Open first: `overview` (the search), then `detail` (one exam) and `words` (how exams are put).
"""
