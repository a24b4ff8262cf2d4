"""A query method chooses what to ask; file name = name on the command line."""
