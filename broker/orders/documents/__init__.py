"""Orders as JSON documents of DICOM keywords, for REST, imports and other worklist servers. Pure.

Open `document.py` first: a document becomes an order change. `outline.py` is the way back, `replacing.py` compares a
whole new document with what is stored, `validity.py` checks values by their VR.
"""
