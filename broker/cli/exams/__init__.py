"""`broker order`: find exams and show one (`finding.py`), place and change one by hand (`changing.py`)."""
