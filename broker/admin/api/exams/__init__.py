"""REST of exams: find them and read their stories, change one by hand, merge two patients.

Open `finding.py` first. Its neighbour `orders` places and amends whole documents.
"""
