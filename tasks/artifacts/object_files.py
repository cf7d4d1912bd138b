"""Files below an `s3://bucket/prefix`."""

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tasks.artifacts.local_files import Entry

_OPTIONS: dict[str, Any] = {
    # A listing that another process made stale must never decide anything.
    "use_listings_cache": False,
    "skip_instance_cache": True,
    # A passing fault is retried here within seconds; a lasting one is the stage's to retry, where people see it.
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 20,
        "retries": {"mode": "standard", "total_max_attempts": 3},
    },
}
_KEYS_PER_DELETION = 1000
_CREATE_TRIES = 5


class ObjectFiles:
    """Whole-object operations below a bucket's prefix; raises what s3fs and botocore raise."""

    def __init__(self, uri: str) -> None:
        self.s3 = _connection(_settings(), os.getpid())
        self.root = self.s3._strip_protocol(uri).strip("/")
        if not self.root:
            raise ValueError("it names no bucket")

    def _key(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def read(self, path: str) -> bytes | None:
        """An object's bytes, or none where no object is. One request, so never a mixture of two versions."""
        try:
            data: bytes = self.s3.cat_file(self._key(path), max_concurrency=1)
        except FileNotFoundError as error:
            if error_code(error) != "NoSuchKey":
                raise
            return None
        return data

    def write(self, path: str, data: bytes) -> None:
        """Store bytes."""
        self.s3.pipe_file(self._key(path), data)

    replace = write

    def upload(self, path: str, source: Path) -> None:
        """Store a local file."""
        self.s3.put_file(str(source), self._key(path))

    def download(self, path: str, target: Path) -> bool:
        """Bring an object to this machine; false where no object is."""
        try:
            self.s3.get_file(self._key(path), str(target))
        except FileNotFoundError as error:
            if error_code(error) != "NoSuchKey":
                raise
            return False
        return True

    def create(self, path: str, data: bytes) -> bool:
        """Store bytes only if nothing is there."""
        for tries_left in reversed(range(_CREATE_TRIES)):
            try:
                self.s3.pipe_file(self._key(path), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                # S3's answer to two creations in the same moment: neither is done, ask again.
                if error_code(error) != "ConditionalRequestConflict" or not tries_left:
                    raise
                time.sleep(0.2)
            else:
                return True
        raise AssertionError("the last try either returned or raised")

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every object below a prefix."""
        # Listing the root for a prefix spares two requests when nothing is there.
        found = self.s3.find(self.root, prefix=f"{prefix}/" if prefix else "", detail=True)
        for key, info in found.items():
            if info["type"] == "file" and not key.endswith("/"):
                yield key[len(self.root) + 1 :], int(info["size"]), info["LastModified"].timestamp()

    def delete(self, path: str) -> None:
        """Remove an object, and all below the path; nothing happens where nothing is."""
        bucket, _, prefix = self.root.partition("/")
        paths = [path, *(found for found, _, _ in self.entries(path))]
        keys = [f"{prefix}/{each}" if prefix else each for each in paths]
        for start in range(0, len(keys), _KEYS_PER_DELETION):
            objects = [{"Key": key} for key in keys[start : start + _KEYS_PER_DELETION]]
            # s3fs's own deletion passes over objects that the store refuses to delete.
            answer = self.s3.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            refused = [each for each in answer.get("Errors", []) if each.get("Code") != "NoSuchKey"]
            if refused:
                raise PermissionError(f"{refused[0].get('Key')}: {refused[0].get('Code')} {refused[0].get('Message')}")


def error_code(error: BaseException) -> str:
    """The name that S3 gave an error, such as `NoSuchKey`; empty where the error did not come from S3."""
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _settings() -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in os.environ.items() if name.startswith(("AWS_", "FSSPEC_S3")))


@cache
def _connection(settings: frozenset[tuple[str, str]], process: int) -> Any:
    """One client for all stores of a process, since making one takes most of a second."""
    del settings, process
    import s3fs

    class BoundedS3(s3fs.S3FileSystem):  # type: ignore[misc] # s3fs ships no types
        # The client above already tries three times; s3fs would multiply that by five, and twice over in reads.
        retries = 1

    return BoundedS3(**_OPTIONS)
