"""Fingerprint, manifest, store, lineage."""
