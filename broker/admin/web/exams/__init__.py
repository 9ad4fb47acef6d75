"""The pages of exams: the search, and one exam with its story.

Open first: `overview` (the search), then `detail` (one exam with `story_lines`), and `words` (how
exams are put).
"""
