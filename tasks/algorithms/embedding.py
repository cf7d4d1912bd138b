"""What texts mean, as vectors: the mean of static token vectors (model2vec). Needs the extra `semantic`."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.artifacts.resource import Resource, ResourceError, require_unchanged

EMBEDDING_FILES = ("tokenizer.json", "model.safetensors", "config.json", "config_sentence_transformers.json")
"""The files of an embedding model that decide its vectors."""
_TEXTS_PER_CALL = 64
"""Texts of equal numbers of tokens are averaged together: this bounds what that takes."""

Vectors = npt.NDArray[np.float32]


class EmbeddingError(ResourceError):
    """An embedding model that cannot be used, or the package for it is not there."""


class Embedder:
    """A static embedding model: texts to vectors of length 1."""

    def __init__(self, model: Resource) -> None:
        self._name = model.uri
        self._model = _loaded(model)

    def __call__(self, texts: pa.Array) -> Vectors:
        """A vector a text, of all its tokens; zeros for a text that is blank or of unknown tokens only.

        A text's vector is the same whatever texts come with it.
        """
        said = np.flatnonzero(pc.not_equal(pc.utf8_trim_whitespace(texts), "").to_numpy(zero_copy_only=False))
        vectors = np.zeros((len(texts), self._model.dim), dtype=np.float32)
        for begin in range(0, len(said), _TEXTS_PER_CALL):
            rows = said[begin : begin + _TEXTS_PER_CALL]
            chosen = texts.take(pa.array(rows)).to_pylist()
            # No limit on tokens: long rows that begin alike are not alike.
            found = self._model.encode(chosen, max_length=None, use_multiprocessing=False)
            vectors[rows] = self._normalized(found.astype(np.float64))
        return vectors

    def _normalized(self, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if not np.isfinite(vectors).all():
            raise EmbeddingError(f"{self._name} gives vectors that are not finite; use another embedding model")
        lengths: npt.NDArray[np.float64] = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
        lengths[lengths == 0] = 1
        return vectors / lengths


def _loaded(model: Resource) -> Any:
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise EmbeddingError(
            "deduplication.semantic needs the package model2vec; pip install 'fettle[semantic]'"
        ) from error
    folder = model.folder
    try:
        loaded = StaticModel.from_pretrained(folder)
    except Exception as error:
        raise EmbeddingError(
            f"{folder} is no static embedding model of model2vec (tokenizer.json, model.safetensors, config.json): "
            f"{error}"
        ) from error
    require_unchanged(model)
    return loaded
