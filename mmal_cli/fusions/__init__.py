"""A fusion turns one token per modality (B, M, D) into one embedding (B, D); file name = name in YAML."""
