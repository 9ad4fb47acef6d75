"""The pages of studies: find them, see what each destination has of one, send it again or elsewhere.

Open `overview.py` for the list, `detail.py` for a study. `objects.py` lists its objects, `words.py` has the words.
"""
