"""What every room leans on: errors, chance, files, manifests, shards, plugins. Imports nothing above itself."""
