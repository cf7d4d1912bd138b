"""Figures on real public data, where it lies beside the checkout (or where FETTLE_REAL_DATA says)."""

import os
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.algorithms.chat.rendering import TemplateError
from tasks.algorithms.refusal import is_refusal
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.algorithms.tokens.masking import NOT_TRAINED
from tasks.artifacts.resource import read_resource
from tasks.artifacts.store import Store
from tasks.conversation import answer_text
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.ingestion import IngestionConfig, Source, ingest
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import TokenizationConfig, tokenize
from tests.stages.making import MISTRAL, source

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")

FILES = {
    "alpaca": "instruction/alpaca_original_subset.parquet",
    "medquad": "domain/medquad_answered.parquet",
    "codegen": "instruction/gpteacher_codegen.parquet",
    "safety": "safety/safety_tuned_llamas_train.parquet",
    "lima": "instruction/lima.parquet",
    "oasst": "conversations/oasst1_validation_via_qlora.parquet",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("real")
    for name in ("gpt2", "llama2_fast", "mistral_7b_v02", "qwen_151k"):
        with tarfile.open(DATA / "tokenizers" / f"{name}.tar.gz") as archive:
            archive.extractall(made, filter="data")
    return made


def resource(name: str) -> Any:
    declared = Source(name=name, uri=str(DATA / FILES[name]), role="general")
    return read_resource(declared.uri, facts=declared.reading())


def column(path: str, name: str, **where: Any) -> list[str]:
    rows = pq.read_table(DATA / path).to_pylist()
    return [row[name] for row in rows if all(row[key] == value for key, value in where.items())]


def test_real_rows_are_read_curated_and_deduplicated(folder: Path, store: Store) -> None:
    ingested = ingest(store, IngestionConfig(), [resource(name) for name in FILES])
    assert ingested.counts.read == ingested.counts.kept == 44_138
    curated = curate(store, CurationConfig(), ingested, read_resource(str(folder / "gpt2")))
    dropped = curated.counts.dropped
    # Each of these was looked at: what is dropped for its form is nearly always spoilt.
    assert dropped["repetitive"] <= 7
    assert dropped["truncated"] <= 6
    assert dropped["empty answer"] == 10
    began = time.monotonic()
    deduplicated = deduplicate(store, DeduplicationConfig(), curated, [])
    assert time.monotonic() - began < 40
    assert 400 < sum(deduplicated.counts.dropped.values()) < 1200


def test_refusals_against_the_labels_of_people() -> None:
    rows = pq.read_table(DATA / "safety/xstest_completions_human_labels.parquet").to_pylist()
    verdicts = Counter(
        (row["final_label"] == "2_full_refusal", is_refusal(row["completion"]))
        for row in rows
        if row["final_label"] != "3_partial_refusal"
    )
    f1 = 2 * verdicts[True, True] / (2 * verdicts[True, True] + verdicts[True, False] + verdicts[False, True])
    assert f1 > 0.9


def test_good_answers_are_hardly_ever_called_refusals(folder: Path, store: Store) -> None:
    ingested = ingest(store, IngestionConfig(), [resource("alpaca"), resource("medquad"), resource("codegen")])
    flagged = sum(is_refusal(answer_text(row["messages"])) for row in store.rows(ingested, "conversations"))
    assert flagged < 25


def conversations() -> Iterator[dict[str, Any]]:
    """Real rows of one and of several turns."""
    for row in pq.read_table(DATA / FILES["oasst"]).slice(0, 150).to_pylist():
        yield {"messages": [{"role": "user", "content": row["input"]}, {"role": "assistant", "content": row["output"]}]}
    rows = pq.read_table(DATA / FILES["lima"]).to_pylist()
    for row in [row for row in rows if row["history"]] + rows[:100]:
        yield {"instruction": row["instruction"], "output": row["output"], "history": row["history"]}


@pytest.mark.parametrize("name", ["gpt2", "llama2_fast", "mistral_7b_v02", "qwen_151k", "stories260K"])
def test_masks_are_proven_with_real_tokenizers_and_their_templates(
    folder: Path, store: Store, tmp_path: Path, name: str
) -> None:
    place = DATA / "models" / name if name == "stories260K" else folder / name
    tokenizer = read_resource(str(place), patterns=("tokenizer*", "special_tokens_map.json", "chat_template*"))
    ingested = ingest(store, IngestionConfig(), [source(tmp_path / "chats.jsonl", list(conversations()))])
    curated = curate(store, CurationConfig(), ingested, tokenizer)
    mixed = mix(store, MixingConfig(), deduplicate(store, DeduplicationConfig(), curated, []))
    template = None
    if name == "mistral_7b_v02":
        # It adds a system message that is not there to a text: no row without one can be written with it.
        with pytest.raises(TemplateError, match="'system_message' is undefined"):
            tokenize(store, TokenizationConfig(), mixed, tokenizer)
        template = MISTRAL
    config = TokenizationConfig(packing=False, max_length=8192, chat_template=template)
    made = tokenize(store, config, mixed, tokenizer)
    encoder = load_encoder(tokenizer)
    assert made.counts.kept > 100
    shown = {row["id"]: row["messages"] for row in store.rows(mixed, "mixture")}
    for row in store.rows(made, "sequences"):
        labels = [label for label in row["labels"] if label != NOT_TRAINED]
        trained = "".join(encoder.tokenizer.decode([label], skip_special_tokens=True) for label in labels)
        answer = answer_text(shown[row["row_ids"][0]])
        if answer.isascii():
            found, wanted = "".join(trained.replace(encoder.eos, "").split()), "".join(answer.split())
            # A token may reach back over the edge: a header's colon with the line break that opens an answer.
            assert found.endswith(wanted)
            assert len(found) <= len(wanted) + 2
