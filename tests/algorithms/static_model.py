"""A static embedding model made on the spot: words that stand among the same words have vectors of the same kind."""

import itertools
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

_PATTERNS = (
    (("how", "when"), ("do", "can"), ("i", "we"), ("freeze", "block", "lock"), ("my", "our"), ("card", "account")),
    (("which", "what"), ("train", "bus", "tram"), ("goes", "runs"), ("to",), ("the",), ("airport", "station")),
    (("the",), ("oven", "stove"), ("bakes", "roasts"), ("bread", "cake"), ("with",), ("sugar", "butter")),
)


def save_static_model(folder: Path, dimensions: int = 6, seed: int = 0) -> None:
    """Write a model2vec folder: a word tokenizer, and vectors by SVD of which words stand in one sentence.

    Another seed turns all vectors by another rotation.
    """
    from model2vec import StaticModel

    sentences = [" ".join(words) for pattern in _PATTERNS for words in itertools.product(*pattern)]
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(sentences, trainers.WordLevelTrainer(special_tokens=["[UNK]"]))
    together = np.zeros((tokenizer.get_vocab_size(),) * 2)
    for ids in (tokenizer.encode(sentence).ids for sentence in sentences):
        for left, right in itertools.permutations(ids, 2):
            together[left, right] += 1
    left, strength, _ = np.linalg.svd(np.log1p(together))
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimensions, dimensions)))
    vectors = (left[:, :dimensions] * np.sqrt(strength[:dimensions])) @ turn
    StaticModel(vectors.astype(np.float32), tokenizer).save_pretrained(folder)
