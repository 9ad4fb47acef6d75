"""The pages of who may come in.

Open `sign_in.py` first, then `second_step.py` (its second part), `me.py` (the own account) with `own_factor.py`,
`users.py` and `tokens.py`.
"""
