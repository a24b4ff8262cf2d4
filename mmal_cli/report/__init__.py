"""One HTML page of all runs: text from records; `gather.py` and `overlap.py` read, the others write strings."""
