"""An encoder turns one modality (B, ...) into vectors (B, width); file name = name in YAML."""
