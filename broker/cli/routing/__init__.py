"""Commands about where objects go: rules, what they do, and what waits for a person.

Open `rules.py` first (`broker rules`), then `trying.py` (its commands that change nothing), `holds.py` (`broker
holds`), `queue.py` (`broker queue`: what waits to be sent) and `studies.py` (`broker studies`: what arrived where).
"""
