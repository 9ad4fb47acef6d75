"""From order to answer: query keys, matching, C-FIND answers of the Modality Worklist (PS3.4 Annex K)."""
