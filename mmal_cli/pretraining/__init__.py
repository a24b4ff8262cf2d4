"""Encoders taught without labels, by SimCLR (Chen et al. 2020), for runs that begin with their weights."""
