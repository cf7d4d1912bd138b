"""The one spelling of a column's values as bytes.

Arrow's own buffers will not do: a slice keeps its neighbours' bytes in its padding, slots under nulls hold anything,
and the stream format's framing may change with a release.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types


def spell(array: pa.Array) -> Iterator[bytes | memoryview]:
    """The pieces of a column: which values are there, then the values alone, lists and structs taken apart.

    Their number and order depend on the type only, so pieces framed by their lengths read one way.
    """
    yield len(array).to_bytes(8, "little")
    yield np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes() if array.null_count else b""
    values = array.drop_null() if array.null_count else array
    kind = values.type
    if types.is_struct(kind):
        for field in values.flatten():
            yield from spell(field)
    elif types.is_list(kind) or types.is_large_list(kind):
        yield _int64(pc.list_value_length(values))
        yield from spell(values.flatten())
    elif types.is_string(kind) or types.is_binary(kind) or types.is_large_string(kind) or types.is_large_binary(kind):
        yield _int64(pc.binary_length(values))
        yield _text_bytes(values)
    elif types.is_boolean(kind):
        yield np.packbits(values.to_numpy(zero_copy_only=False)).tobytes()
    elif not types.is_null(kind):
        yield _fixed_width_bytes(values)


def _int64(lengths: pa.Array) -> bytes:
    found: bytes = lengths.to_numpy().astype("<i8").tobytes()
    return found


def _text_bytes(values: pa.Array) -> bytes | memoryview:
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return b""
    large = types.is_large_string(values.type) or types.is_large_binary(values.type)
    places = np.frombuffer(offsets, dtype="<i8" if large else "<i4")
    return memoryview(data)[places[values.offset] : places[values.offset + len(values)]]


def _fixed_width_bytes(values: pa.Array) -> bytes | memoryview:
    try:
        width_bytes = values.type.bit_width // 8
    except ValueError:
        width_bytes = 0
    if not width_bytes or len(values.buffers()) != 2 or types.is_dictionary(values.type):
        raise TypeError(f"a column of type {values.type} has no one spelling; use text, numbers, lists or structs")
    data = values.buffers()[1]
    if data is None:
        return b""
    start = values.offset * width_bytes
    return memoryview(data)[start : start + len(values) * width_bytes]
