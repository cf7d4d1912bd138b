"""From conversations to ids and labels: ours, in one process, against TRL's own preparation in two."""

import hashlib
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import ChatTemplate, Trained
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.algorithms.tokens.masking import NOT_TRAINED, trained_tokens
from tasks.artifacts.resource import read_resource
from tasks.conversation import MESSAGE
from tests.speed.figure import Measurement, figure, require
from tests.speed.instructions import corpus
from tests.speed.token_counts import byte_level

ROWS, PROCESSES, ROWS_PER_BATCH = 50_000, 2, 4096
REAL = Path(os.environ.get("FETTLE_REAL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""A training template with generation tags: what each side is given for every tokenizer."""
CONTROLS = ["<|im_start|>", "<|im_end|>"]
_FILES = {
    "instruction/alpaca_original_subset": ("instruction", "input", "output"),
    "instruction/lima": ("instruction", "input", "output"),
    "instruction/dolly_3k_alpagasus": ("instruction", "input", "output"),
    "instruction/gpteacher_codegen": ("instruction", "input", "response"),
    "instruction/codealpaca_2k": ("instruction", "input", "output"),
    "instruction/alpaca_cot_chain_of_thought": ("instruction", "input", "output"),
    "domain/medquad_answered": ("question", None, "answer"),
}
"""Real rows, and where a row has its question, what it adds, and its answer."""
_TOKENIZERS = {"qwen": "qwen_151k", "gpt2": "gpt2", "llama2": "llama2_fast"}


@figure("tokenize.vs_trl.qwen")
def qwen(scratch: Path) -> Measurement:
    """A byte-level vocabulary of 151,643."""
    return _measured(scratch, "qwen")


@figure("tokenize.vs_trl.gpt2")
def gpt2(scratch: Path) -> Measurement:
    """A byte-level vocabulary of 50,257."""
    return _measured(scratch, "gpt2")


@figure("tokenize.vs_trl.llama2")
def llama2(scratch: Path) -> Measurement:
    """A SentencePiece vocabulary of 32,000 that falls back to bytes."""
    return _measured(scratch, "llama2")


class _Rows(NamedTuple):
    path: Path
    made_of: str


def _measured(scratch: Path, name: str) -> Measurement:
    rows, folder = _rows(scratch), scratch / f"tokenizing-{name}"
    vocabulary = _save_tokenizer(folder, name)
    ours, peer = (_run(side, folder, rows.path) for side in ("ours", "trl"))
    mine, theirs = (_columns(folder / side) for side in ("ours", "trl"))
    require(mine.num_rows == theirs.num_rows == ROWS, f"{mine.num_rows:,} and {theirs.num_rows:,} of {ROWS:,} rows")
    for column in ("input_ids", "labels"):
        require(mine[column].equals(theirs[column]), f"{column} differ from TRL's")
    tokens = pc.sum(pc.list_value_length(mine["input_ids"])).as_py()
    return Measurement(
        ours=ours["seconds"],
        peer=peer["seconds"],
        peer_name=f"TRL's preparation, in {PROCESSES} processes against our one",
        unit="s",
        checked=f"equal ids and labels of all {ROWS:,} rows ({rows.made_of}; {vocabulary}), {tokens:,} tokens; "
        f"{ours['share']:.0%} of our time in the tokenizer; CPU-seconds {ours['cpu']:.1f} and {peer['cpu']:.1f}",
    )


def _run(side: str, folder: Path, rows: Path) -> dict[str, float]:
    environment = os.environ | {
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    finished = subprocess.run(
        [sys.executable, "-m", "tests.speed.tokenizing", side, str(folder), str(rows)],
        capture_output=True,
        text=True,
        env=environment,
    )
    require(finished.returncode == 0, f"{side} failed: {finished.stderr[-2000:]}")
    found: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return found


@cache
def _rows(scratch: Path) -> _Rows:
    """Conversations of one question and its answer: real ones where they are at hand."""
    is_real = REAL.is_dir()
    pairs = _real_pairs() if is_real else [_halves(text) for text in corpus(ROWS).texts]
    messages = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in pairs[:ROWS]
    ]
    path = scratch / "tokenizing.parquet"
    pq.write_table(pa.table({"messages": messages}), path, row_group_size=ROWS_PER_BATCH)
    return _Rows(path, "real instructions" if is_real else "made rows")


def _real_pairs() -> list[tuple[str, str]]:
    """Rows of all files, shuffled as their hashes say."""
    pairs = set[tuple[str, str]]()
    for name, (asked, added, answered) in _FILES.items():
        for row in pq.read_table(REAL / f"{name}.parquet").to_pylist():
            question = "\n".join(filter(None, [row[asked], row[added] if added else None]))
            pairs.add((question, row[answered] or ""))
    return sorted(pairs, key=lambda pair: hashlib.blake2b("\0".join(pair).encode()).digest())


def _halves(text: str) -> tuple[str, str]:
    words = text.split(" ")
    return " ".join(words[:16]), " ".join(words[16:])


def _save_tokenizer(folder: Path, name: str) -> str:
    """A folder as users have it; says which vocabulary it holds."""
    folder.mkdir()
    archive = REAL / "tokenizers" / f"{_TOKENIZERS[name]}.tar.gz"
    if archive.is_file():
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        (folder / _TOKENIZERS[name]).rename(folder / "tokenizer")
        tokenizer, vocabulary = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json")), "its own vocabulary"
    else:
        (folder / "tokenizer").mkdir()
        tokenizer, vocabulary = byte_level(corpus(ROWS).texts[:5000]), "a byte-level vocabulary trained here"
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    settings_file = folder / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text()) if settings_file.exists() else {}
    settings |= {"chat_template": CHATML, "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    settings_file.write_text(json.dumps(settings))
    _add_controls(folder / "tokenizer")
    return vocabulary


def _add_controls(folder: Path) -> None:
    """As users do it: transformers builds some tokenizers anew, and only keeps what was added by itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": CONTROLS})
    tokenizer.save_pretrained(folder)
    # It reads Llama 2's own files as another tokenizer than those that it has saved itself: both sides get the latter.
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


def _write(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _columns(folder: Path) -> pa.Table:
    parts = [pa.ipc.open_file(path).read_all() for path in sorted(folder.glob("*.arrow"))]
    types = pa.schema([("input_ids", pa.large_list(pa.int64())), ("labels", pa.large_list(pa.int64()))])
    return pa.concat_tables(part.select(types.names).cast(types) for part in parts).combine_chunks()


def _trl(folder: Path, rows: Path) -> dict[str, float]:
    from datasets import Dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    tiny = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    arguments = SFTConfig(
        output_dir=str(folder / "run"),
        assistant_only_loss=True,
        dataset_num_proc=PROCESSES,
        max_length=None,
        use_cpu=True,
        bf16=False,
        report_to="none",
    )
    data = Dataset.from_parquet(str(rows), cache_dir=str(folder / "cache"))
    trainer = SFTTrainer(
        model=LlamaForCausalLM(tiny), args=arguments, train_dataset=data.select(range(8)), processing_class=tokenizer
    )
    took = _timed(lambda: trainer._prepare_dataset(data, tokenizer, arguments, False, None, "train"))
    (folder / "trl").mkdir()
    _write(took.value.with_format("arrow")[:], folder / "trl" / "all.arrow")
    return {"seconds": took.seconds, "cpu": took.cpu}


class _Preparation:
    """Ours, as the stage does it: from conversations to two columns in a file."""

    def __init__(self, folder: Path, rows: Path) -> None:
        self.folder, self.rows = folder, rows
        self.encoder = load_encoder(read_resource(str(folder / "tokenizer")))
        template = ChatTemplate(CHATML, bos=self.encoder.bos, eos=self.encoder.eos)
        self.renderer = Renderer(template, Trained(), special=self.encoder.special, added=self.encoder.added)

    def __call__(self, groups: list[int]) -> float:
        """Prepare some of the file's batches; says how many seconds the tokenizer took."""
        tokenizing = 0.0
        file = pq.ParquetFile(self.rows)
        for group in groups:
            batch = _as_conversations(file.read_row_group(group))
            rendered = self.renderer(batch)
            before = time.perf_counter()
            tokens = self.encoder.tokens(rendered.texts, rendered.plain)
            tokenizing += time.perf_counter() - before
            labels = np.where(trained_tokens(tokens, rendered.trained), tokens.ids, np.int32(NOT_TRAINED))
            columns = [pa.LargeListArray.from_arrays(tokens.offsets, each) for each in (tokens.ids, labels)]
            table = pa.table(columns, names=["input_ids", "labels"])
            _write(table, self.folder / "ours" / f"{group:04}.arrow")
        require(not self.encoder.notes, f"the fast way was given up: {self.encoder.notes}")
        return tokenizing


def _as_conversations(table: pa.Table) -> pa.RecordBatch:
    """Rows as the stage gets them: all fields of a message, most of them null."""
    messages = table["messages"].combine_chunks()
    given = messages.values
    fields = [
        given.field(each.name).cast(each.type) if given.type.get_field_index(each.name) >= 0
        else pa.nulls(len(given), each.type)
        for each in MESSAGE
    ]  # fmt: skip
    turns = pa.StructArray.from_arrays(fields, fields=list(MESSAGE))
    lists = pa.ListArray.from_arrays(messages.offsets.cast(pa.int32()), turns)
    return pa.record_batch([lists, pa.nulls(len(lists), pa.string())], names=["messages", "tools"])


def _ours(folder: Path, rows: Path) -> dict[str, float]:
    (folder / "ours").mkdir()
    groups = list(range(pq.ParquetFile(rows).num_row_groups))
    _Preparation(folder, rows)(groups[-1:])  # compiles the loops, or reads them
    prepare = _Preparation(folder, rows)  # knows nothing of any text
    took = _timed(lambda: prepare(groups))
    return {"seconds": took.seconds, "cpu": took.cpu, "share": took.value / took.seconds}


class _Timed(NamedTuple):
    value: Any
    seconds: float
    cpu: float
    """Of this process and of those that it started."""


def _timed(work: Callable[[], Any]) -> _Timed:
    began, before = time.perf_counter(), _cpu_seconds()
    value = work()
    return _Timed(value, time.perf_counter() - began, _cpu_seconds() - before)


def _cpu_seconds() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    print(json.dumps({"ours": _ours, "trl": _trl}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))))
