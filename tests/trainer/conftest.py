"""A tokenizer and a two-layer Llama made in process, and the tables that trainer processes read."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.trainer.job import TrainingJob

CORPUS = ["The capital of France is Paris.", "### Instruction:\nName a colour.\n\n### Response:\nBlue is one.", "a b c"]
BOS, EOS = 0, 1
Sample = tuple[list[int], int]
"""Token ids, and how many of them in front carry no loss."""


UNEVEN: list[list[Sample]] = [
    [([0, *range(10 + n, 14 + n), 60, 61, 62, 1], 4), ([0, 20 + n, 60, 61, 1], 2 + n % 3)] * (1 + n % 3)
    for n in range(18)
]
"""Rows of unequal length whose samples have unequal shares of trained tokens; 18 rows leave a last step of 2."""
HELDOUT: list[list[Sample]] = [[([0, *range(30, 30 + n), 60, 61, 62, 1], n)] for n in (2, 5, 9)]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Here and in child processes: threads cost more than they bring at this size, above all on busy cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer Llama with a byte-level BPE tokenizer that puts BOS first and knows no pad."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    wrap: Any = PreTrainedTokenizerFast  # its constructor has no annotations

    folder = tmp_path_factory.mktemp("base")
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    tokenizer = wrap(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def write_rows() -> Callable[[Path, Sequence[Sequence[Sample]]], Path]:
    """Writes a sequence table; each row is a list of samples packed one behind the other."""

    def write(path: Path, rows: Sequence[Sequence[Sample]]) -> Path:
        columns: dict[str, list[object]] = {
            name: [] for name in ("input_ids", "labels", "position_ids", "seq_lengths", "row_ids", "source")
        }
        for number, row in enumerate(rows):
            columns["input_ids"].append([token for ids, _ in row for token in ids])
            columns["labels"].append([t for ids, cut in row for t in [-100] * cut + ids[cut:]])
            columns["position_ids"].append([place for ids, _ in row for place in range(len(ids))])
            columns["seq_lengths"].append([len(ids) for ids, _ in row])
            columns["row_ids"].append([f"row-{number}-{index}" for index in range(len(row))])
            columns["source"].append("general")
        numbers, texts = pa.list_(pa.int32()), pa.list_(pa.string())
        types = [numbers, numbers, numbers, numbers, texts, pa.string()]
        pq.write_table(
            pa.table([pa.array(c, t) for c, t in zip(columns.values(), types, strict=True)], list(columns)), path
        )
        return path

    return write


@pytest.fixture
def uneven_job(
    base: Path, write_rows: Callable[[Path, Sequence[Sequence[Sample]]], Path], tmp_path: Path
) -> TrainingJob:
    """Five steps on rows of unequal length, in batches that can be split in many ways."""
    return TrainingJob(
        base_model=base,
        sequences=[write_rows(tmp_path / "rows.parquet", UNEVEN)],
        heldout=[write_rows(tmp_path / "heldout.parquet", HELDOUT)],
        output=tmp_path / "single",
        learning_rate=5e-3,
        epochs=2,
        batch_size=8,
        micro_batch_size=2,
        evaluations=2,
        dtype="float32",
    )
