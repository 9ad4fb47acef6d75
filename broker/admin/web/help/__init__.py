"""Pages that explain: the guides, and REST.

Open `guides.py` first (Markdown becomes pages and sections that are found), then `api_docs.py` (OpenAPI for people).
"""
