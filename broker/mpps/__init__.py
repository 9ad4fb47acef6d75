"""Receives Modality Performed Procedure Steps: what modalities report about their work (PS3.4 annex F).

Open `scp` for the door, `recording` for the transaction of a message, then `checks` for what an answer says.
`attributes` is the table of the standard. `deciding`, `comparing` and `overdue` are the stories that no message starts.
"""
