"""Says which rows are deleted by their age, and how old they must be. Open `schedule.py` first."""
