"""Identity, the store, resources, the registry and sweeping, on a folder and on a real S3 server."""
