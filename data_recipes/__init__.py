"""Recipes: one dataset, one module; numpy arrays out; they know nothing of torch or of the command line."""
