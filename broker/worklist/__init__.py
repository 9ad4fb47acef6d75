"""Answers worklist queries of modalities: C-FIND of the Modality Worklist (PS3.4 annex K).

Open `scp` first: it parses a request (`query`), adapts it to its device (`device`), searches, and encodes the matches
(`answer`). `explain` says why a device shows an exam or not. `source` imports from other worklist servers.
"""
