"""What can go wrong with storage, and whether trying again can help."""


class StoreError(Exception):
    """An operation on the store failed. Never taken for a cache miss."""

    transient = False
    """True where the same operation may succeed a little later."""


class StoreUnreachableError(StoreError):
    """The store did not answer, or answered with a fault of its own."""

    transient = True


class StoreDeniedError(StoreError):
    """The store refused: credentials, permissions, or a bucket or folder that is not there."""


class StoreFullError(StoreError):
    """No space is left."""


class CorruptArtifactError(StoreError):
    """An artifact is committed, but what lies in the store is not what its manifest says."""
