"""Four file formats, each with its own ways to be broken."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.demo.faults import Entry

FILES: dict[str, str] = {
    "domain": "sources/domain.jsonl",
    "general": "sources/general.parquet",
    "code": "sources/code.csv",
    "safety": "sources/safety.json",
}


def chat_line(entry: Entry) -> str:
    """One line of OpenAI's chat layout."""
    messages: list[dict[str, Any]] = []
    for turn in entry.row.turns:
        messages.append({"role": "user", "content": turn.user})
        messages.append({"role": "assistant", "content": turn.assistant})
    if entry.malformation == "messages_are_text":
        return json.dumps({"messages": entry.row.text}, ensure_ascii=False)
    if entry.malformation == "no_answer":
        messages.pop()
    if entry.malformation == "content_is_number":
        messages[-1]["content"] = len(entry.row.answer)
    if entry.malformation == "no_role":
        del messages[-1]["role"]
    line = json.dumps({"messages": messages}, ensure_ascii=False)
    return line[: len(line) // 2] if entry.malformation == "broken_json" else line


def write_jsonl(path: Path, entries: list[Entry]) -> None:
    """Domain rows, one a line."""
    path.write_text("".join(chat_line(entry) + "\n" for entry in entries), encoding="utf-8", newline="\n")


def write_parquet(path: Path, entries: list[Entry]) -> None:
    """General rows in Alpaca's columns."""
    columns: dict[str, list[str | None]] = {
        "instruction": [
            None if entry.malformation == "null_instruction" else entry.row.turns[0].user for entry in entries
        ],
        "input": [entry.row.passage for entry in entries],
        "output": [None if entry.malformation == "null_answer" else entry.row.answer for entry in entries],
    }
    schema = pa.schema([(name, pa.string()) for name in columns])
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def write_csv(path: Path, entries: list[Entry]) -> None:
    """Code rows under a header; a malformed row has one field too few."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["prompt", "completion"])
        for entry in entries:
            fields = [entry.row.prompt.strip(), entry.row.answer]
            writer.writerow(fields[:1] if entry.malformation == "missing_field" else fields)


def sharegpt_record(entry: Entry) -> dict[str, Any]:
    """One conversation in ShareGPT's layout."""
    turn = entry.row.turns[0]
    answer: dict[str, str] | None = {"from": "gpt", "value": turn.assistant}
    if entry.malformation == "null_conversation":
        return {"conversations": None}
    if entry.malformation == "unknown_speaker":
        answer = {"from": "narrator", "value": turn.assistant}
    if entry.malformation == "null_turn":
        answer = None
    conversation = [{"from": "human", "value": turn.user}, answer]
    return {"conversations": conversation[:1] if entry.malformation == "no_answer" else conversation}


def write_json(path: Path, entries: list[Entry]) -> None:
    """Safety rows as one array."""
    records = [sharegpt_record(entry) for entry in entries]
    path.write_text(json.dumps(records, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")


WRITERS: dict[str, Callable[[Path, list[Entry]], None]] = {
    "domain": write_jsonl,
    "general": write_parquet,
    "code": write_csv,
    "safety": write_json,
}
