"""TRL's own preparation with assistant_only_loss, ours beside it, and conversations to compare them on."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tasks.algorithms.chat.rendering import ChatTemplate, Text
from tasks.conversation import Message
from tasks.formats import reader
from tasks.formats.row import Conversation, RowError
from tests.stages.making import chat

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
BOS, EOS = "<s>", "</s>"

_CONTROL = re.compile(r"<[|｜][^<>|｜\s]+[|｜]>|<(?:start|end)_of_\w+>|</?think>|<\|?\w+\|?>|</\w+>")


def names(pattern: str) -> list[str]:
    """The templates that the installed TRL ships."""
    return sorted(path.name.removesuffix(".jinja") for path in TEMPLATES.glob(pattern))


def source(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text()


def _schema(name: str, **properties: str) -> dict[str, Any]:
    shown = {key: {"type": "string", "description": what} for key, what in properties.items()}
    parameters = {"type": "object", "properties": shown, "required": list(shown)}
    return {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": parameters}}


TOOLS = json.dumps([_schema("find_recipe", dish="What to cook."), _schema("convert", amount="How much.")])


def _call(number: int, name: str, **arguments: Any) -> str:
    called = {"id": f"call{number:05}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return json.dumps([called])


def _said(role: str, content: str, **fields: str) -> Message:
    return {"role": role, "content": content, **fields}  # type: ignore[typeddict-item]


_ASKED = _said("user", "What can I cook with rice & peppers?")
_FOUND = _said("tool", '{"dish": "paella"}', tool_call_id="call00001", name="find_recipe")
SMALL: dict[str, Conversation] = {
    "single": Conversation(chat("Hi", "Hello. How can I help?")["messages"]),
    "multi-turn": Conversation(chat("Hi", "Hello.", "Hi", "Hello.", "Say: Hello.", "Bonjour, 世界 😀")["messages"]),
    "white space": Conversation(chat("  Hi \n", "\n a <b>bold</b> [INST] word \n\n", "go on", "<")["messages"]),
    "system": Conversation(chat("1+1?", "2", "2+2?", "4", system="You add.")["messages"]),
    "open end": Conversation(chat("1+1?", "2", "2+2?")["messages"]),
    "thinking": Conversation(
        [
            _said("user", "1+1?"),
            _said("assistant", "It is 2.", reasoning="Add them.\nTwo."),
            _said("user", "2+2?"),
            _said("assistant", "It is 4.", reasoning="Again."),
        ]
    ),
    "tools": Conversation(
        [
            _ASKED,
            _said("assistant", "", tool_calls=_call(1, "find_recipe", dish="rice <é>")),
            _FOUND,
            _said("assistant", "Paella."),
            _said("user", "How much rice?"),
            _said("assistant", "200 g."),
        ],
        TOOLS,
    ),
    "tools, in words too": Conversation(
        [_ASKED, _said("assistant", "Let me look.", tool_calls=_call(1, "find_recipe", dish="rice")), _FOUND],
        TOOLS,
    ),
    "call at the end": Conversation(
        [_ASKED, _said("assistant", "Let me look.", tool_calls=_call(1, "find_recipe", dish="rice"))], TOOLS
    ),
    "tools, thinking": Conversation(
        [
            _ASKED,
            _said("assistant", "", reasoning="A recipe.", tool_calls=_call(1, "find_recipe", dish="rice")),
            _FOUND,
            _said("assistant", "", reasoning="And the amount.", tool_calls=_call(2, "convert", amount="1 cup")),
            _said("tool", "200 g", tool_call_id="call00002", name="convert"),
            _said("assistant", "Paella with 200 g of rice.", reasoning="Now all is known."),
        ],
        TOOLS,
    ),
}


def real() -> Iterator[tuple[str, Conversation]]:
    """Some of the public conversations, where they lie beside the checkout."""
    files = {
        "oasst1_validation_via_qlora": 5,
        "llama_factory_glaive_toolcall_en_demo": 5,
        "llama_factory_reason_tool_use_demo_50": 5,
    }
    for file, count in files.items():
        path = DATA / "conversations" / f"{file}.parquet"
        if not path.is_file():
            continue
        read = reader(None)
        rows = pq.read_table(path).to_pylist()
        for number, row in enumerate(rows[:: len(rows) // count]):
            try:
                yield f"{file} {number}", read(row)
            except RowError:
                continue


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE that knows the control tokens of all families."""
    control = {token for name in names("*.jinja") for token in _CONTROL.findall(source(name))}
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200 + len(control),
        special_tokens=[BOS, EOS, *sorted(control - {BOS, EOS})],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([source(name) for name in names("*_training.jinja")], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=BOS, eos_token=EOS)


class Prepared(NamedTuple):
    """A text as token ids, and which of them are trained."""

    text: str
    ids: list[int]
    trained: list[bool]


def theirs(template: str, messages: Sequence[Message], tools: str | None) -> Prepared:
    """As the SFTTrainer does it; any exception where the template refuses."""
    given = {"chat_template": template, "tools": json.loads(tools) if tools else None}
    shown = [_as_trl_is_given(message) for message in messages]
    made = tokenizer().apply_chat_template(
        shown, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **given
    )
    text = tokenizer().apply_chat_template(shown, tokenize=False, **given)
    return Prepared(text, made["input_ids"], [flag == 1 for flag in made["assistant_masks"]])


def _as_trl_is_given(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if message.get("reasoning"):
        shown["reasoning_content"] = message["reasoning"]
    if message.get("tool_calls"):
        shown["tool_calls"] = json.loads(message["tool_calls"] or "")
    return shown | {key: message[key] for key in ("tool_call_id", "name") if message.get(key)}


def template(name: str) -> ChatTemplate:
    """Ours, on the day that theirs write."""
    return ChatTemplate(source(name), bos=BOS, eos=EOS, date=datetime.now().date())  # noqa: DTZ005 # theirs is local


def offsets(text: str) -> list[tuple[int, int]]:
    """The characters of each token."""
    found: list[tuple[int, int]] = tokenizer()._tokenizer.encode(text, add_special_tokens=False).offsets
    return found


def prepared(made: Text) -> Prepared:
    """Our text as token ids: trained is what shares a character with a span."""
    encoding = tokenizer()._tokenizer.encode(made.text, add_special_tokens=False)
    flags = [any(begin < last and end > first for first, last, _ in made.spans) for begin, end in encoding.offsets]
    return Prepared(made.text, encoding.ids, flags)
