"""Runs for other labs: cleaned, audited and packed into one zip, and taken from one into a folder of runs."""
