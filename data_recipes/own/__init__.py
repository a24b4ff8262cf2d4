"""The recipe `own`: a dataset from a table of one's own, whose columns hold the values, or where the files lie."""
