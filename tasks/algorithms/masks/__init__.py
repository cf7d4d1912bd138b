"""The mask proof: what will be trained, read back and told."""
