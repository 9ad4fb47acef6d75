"""The command line: thin typer commands that ask the running broker, or call the features while none runs.

Open `main.py` first (all commands and their options), then `common.py` (what they share: settings, errors, exit codes),
then `asking/running.py` (how they reach the broker). The file of a command carries its name.
"""
