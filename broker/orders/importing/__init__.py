"""Takes over what worklists of before have: items of other servers and of files.

Open `adopting` for what a server tells, `filing` for what a file holds. `known` finds the order and the steps that an
item means, `ending` ends those that have ended there.
"""
