"""TRL's own SFTTrainer on the Parquet of a real tokenization: as it is, whole or streamed, with our loss."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from tasks.artifacts.resource import read_resource
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import TokenizationConfig, tokenize
from tasks.trainer.job import TrainingJob
from tasks.trainer.train import train
from tests.stages.making import chat, prose, source

pytestmark = [
    # TRL and peft still use these names themselves; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

LENIENT = CurationConfig(length=Length(prompt_tokens=(0, 9999), answer_tokens=(0, 9999)))


@pytest.fixture(scope="module", params=[True, False], ids=["packed", "unpacked"])
def files(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The sequences of a real run, tokenised for the tiny model."""
    folder = tmp_path_factory.mktemp("tokenized")
    store = Store(str(folder / "store"))
    store.probe()
    tokenizer = read_resource(str(base), patterns=("tokenizer*", "config.json"))
    rows = [chat(prose(number, 2 + number % 3), f"{prose(number + 50, 1 + number % 4)} yes") for number in range(12)]
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(folder / "faq.jsonl", rows)])
    clean = deduplicate(store, DeduplicationConfig(), curate(store, LENIENT, ingested, tokenizer), [])
    config = TokenizationConfig(max_length=128, packing=request.param)
    made = tokenize(store, config, mix(store, MixingConfig(), clean), tokenizer)
    with store.local_folder(made, "sequences") as local:
        paths = sorted(local.glob("*.parquet"))
        lengths = [each for path in paths for each in pq.read_table(path)["seq_lengths"].to_pylist()]
        assert any(len(each) > 1 for each in lengths) == request.param
        yield [str(path) for path in paths]


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_trl_trains_on_the_parquet_as_it_is_with_our_loss(
    files: list[str], base: Path, streaming: bool, tmp_path: Path
) -> None:
    """Rows of several samples need `padding_free=True`, TRL's name for attention that keeps samples apart."""
    disable_progress_bars()
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    several = any(len(row["seq_lengths"]) > 1 for row in rows)
    dataset = load_dataset("parquet", data_files=files, split="train", streaming=streaming, cache_dir=str(tmp_path))
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=SFTConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            per_device_train_batch_size=len(rows),
            logging_steps=1,
            max_length=None,
            packing=False,
            padding_free=several,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    assert ("attention_mask" in batch) != several
    trained = batch["labels"] != -100
    assert sorted(batch["input_ids"][trained].tolist()) == sorted(batch["labels"][trained].tolist())
    assert sorted(batch["labels"][trained].tolist()) == sorted(
        label for row in rows for label in row["labels"] if label != -100
    )
    trainer.train()
    ours = TrainingJob(
        base_model=base,
        sequences=[Path(file) for file in files],
        output=tmp_path / "ours",
        batch_size=len(rows),
        micro_batch_size=len(rows),
        dtype="float32",
    )
    train(ours)
    first_loss = json.loads((ours.output / "result.json").read_text())["first_loss"]
    assert trainer.state.log_history[0]["loss"] == pytest.approx(first_loss, abs=1e-5)
