"""QuintFeatures: images of shapes, textures and colours before a textured background, drawn the same on every machine."""
