"""Judges series and studies: their objects wait until they are complete, and then go by the rules of that level.

Open `gathering.py` first (an object joins its series and study), then `walk.py` (who looks at what is due),
`judging.py` (is it complete, and what do the rules say), `applying.py` (what that means for each object).
"""
