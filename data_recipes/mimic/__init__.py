"""The recipe `mimic`: laboratory values and ECGs around hospital admissions; the label is death within a year."""
