"""Campaigns, in which people say the labels: what was asked, what they answered, and the models between."""
