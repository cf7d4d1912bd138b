"""Token counts of whole columns against the tokenizer's own batches."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tasks.algorithms.tokens.encoding import TextEncoder
from tests.speed.figure import Measurement, figure, require
from tests.speed.instructions import corpus

ROWS, TRAINED_ON, VOCABULARY = 50_000, 5_000, 16_000


@figure("token_counts.vs_tokenizers")
def vs_tokenizers(scratch: Path) -> Measurement:
    """Rows a CPU-second, from a cold start: nothing is known of the texts before."""
    texts = corpus(ROWS).texts
    encoder = TextEncoder(byte_level(texts[:TRAINED_ON]), {}, None)
    column = pa.array(texts, pa.large_string())
    TextEncoder(encoder.tokenizer, {}, None).count(texts[:10])  # compiles the loops
    began = time.process_time()
    ours = encoder.count(column)
    between = time.process_time()
    theirs = [len(each) for each in encoder.tokenizer.encode_batch(texts, add_special_tokens=False)]
    ended = time.process_time()
    require(np.array_equal(ours, theirs), "the counts differ from those of encode_batch")
    return Measurement(
        ours=ROWS / (between - began),
        peer=ROWS / (ended - between),
        peer_name="tokenizers encode_batch",
        unit="rows/CPU-s",
        checked=f"equal counts for all {ROWS:,} rows, {sum(theirs):,} tokens",
        more_is_better=True,
    )


def byte_level(texts: list[str]) -> Tokenizer:
    """A vocabulary trained on some texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    )
    return made
