"""Explains why a device shows an exam or not.

Open `exam` first: it finds the steps and the queries of the device (`memory`, `recall`). `conditions` asks the
conditions of the matcher one by one, `verdict` concludes.
"""
