"""Changes orders and patients for people and programs, without a message: by REST, commands, pages and imports.

Open `placing.py` first. Each change is one transaction and ends in the stories of HL7 messages (`orders.stories`). A
refused one writes nothing.
"""
