"""Modality Performed Procedure Steps (PS3.4 annex F): what modalities say of their work."""
