"""The families: for each a template, its control tokens, a kind of tokenizer and a conversation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE
from tests.stages.making import MISTRAL

LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' }}"
    "{% if loop.first and system %}{{ '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' }}{% endif %}"
    "{{ message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)

Turns = Sequence[dict[str, Any]]


def _turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


_FEES = json.dumps([{"type": "function", "function": {"name": "fees", "arguments": {"card": 3}}}])
_CARD = {"type": "object", "properties": {"card": {"type": "integer", "description": "Which"}}}
TOOLS = json.dumps(
    [{"type": "function", "function": {"name": "fees", "description": "For a card.", "parameters": _CARD}}]
)
TALK = [
    _turn("user", "What is the fee?"),
    _turn("assistant", "Four dollars."),
    _turn("user", "Per month?"),
    _turn("assistant", "Per year."),
]
LED = [_turn("system", "Answer briefly."), *TALK]
THOUGHT = [
    TALK[0],
    _turn("assistant", "Four dollars.", reasoning="The list says so."),
    TALK[2],
    _turn("assistant", "Per year.", reasoning="The fee is for a year."),
]
CALLING = [
    TALK[0],
    _turn("assistant", "", tool_calls=_FEES),
    _turn("tool", "4 dollars", name="fees"),
    TALK[1],
]


def asking_about(token: str) -> Turns:
    """A conversation in which the user spells a control token."""
    return [_turn("user", f"What is {token} for?"), _turn("assistant", "The answer is over.")]


@dataclass(frozen=True)
class Family:
    """One family of chat templates."""

    template: str
    """Source, or the name of one that TRL brings along."""
    control: tuple[str, ...]
    """Its control tokens; the first two are those that begin a text and end an answer."""
    turns: Turns
    added: tuple[str, ...] = ()
    """Tokens of their own that are no control tokens."""
    tools: str | None = None
    sentence_piece: bool = False

    @property
    def source(self) -> str:
        """The Jinja text."""
        if "{" in self.template:
            return self.template
        found = find_spec("trl")
        assert found is not None
        assert found.origin is not None
        return (Path(found.origin).parent / "chat_templates" / f"{self.template}.jinja").read_text()

    def tokenizer(self) -> Tokenizer:
        """Words that are written down here: nothing that a library could train otherwise tomorrow."""
        made = _sentence_piece() if self.sentence_piece else _byte_level()
        made.add_special_tokens([AddedToken(each, normalized=False) for each in dict.fromkeys(self.control)])
        made.add_tokens([AddedToken(each, normalized=False) for each in self.added])
        return made


_CHATML = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")
_DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
_GPT_OSS = ("<|startoftext|>", "<|return|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>")
_LLAMA_3 = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
_TOOL_TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
FAMILIES = {
    "alpaca": Family(PLAIN_TEMPLATE, ("<s>", "</s>"), LED),
    "chatml": Family("qwen2_5_training", _CHATML, LED),
    "chatml_spelled_by_the_user": Family("qwen2_5_training", _CHATML, asking_about("<|im_end|>")),
    "deepseek": Family("deepseekv3_training", _DEEPSEEK, LED),
    "gemma": Family(
        "gemma_training", ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), TALK, sentence_piece=True
    ),
    "gpt_oss": Family("gptoss_training", _GPT_OSS, THOUGHT),
    "llama_2": Family(LLAMA_2, ("<s>", "</s>"), LED, sentence_piece=True),
    "llama_2_spelled_by_the_user": Family(LLAMA_2, ("<s>", "</s>"), asking_about("</s>"), sentence_piece=True),
    "llama_3": Family("llama3_training", _LLAMA_3, LED),
    "mistral": Family(MISTRAL, ("<s>", "</s>"), TALK, sentence_piece=True),
    "phi_3": Family("phi3_training", ("<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>"), TALK),
    "qwen_3_thinking": Family("qwen3", _CHATML, THOUGHT, added=("<think>", "</think>")),
    "qwen_3_tools": Family("qwen3", _CHATML, CALLING, added=("<think>", "</think>", *_TOOL_TAGS), tools=TOOLS),
}

_WORDS = """
What is the fee Four dollars Per month year Answer briefly The list says so for a over answer assistant user
system model tool Instruction Response INST SYS think fees card name arguments function type object parameters
description integer properties number string analysis final start end im of You are helpful Tools may call one or
more functions to assist with query provided signatures within XML tags For each return json object Valid
channels Channel must be included every message Knowledge cutoff Current date Reasoning medium ChatGPT large
language trained by OpenAI following commentary tools card fee your and in
""".split()  # noqa: SIM905 # a list would be far longer


def _merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Joins that make each word one token, from its beginning on; those of long words come first."""
    words = sorted(words, key=lambda word: (-len(word), word))
    steps = [(word[:end], word[end]) for word in words for end in range(1, len(word))]
    return list(dict.fromkeys(steps))


def _bpe(letters: Sequence[str], words: Sequence[str], **options: Any) -> models.BPE:
    merges = _merges(words)
    tokens = dict.fromkeys([*letters, *("".join(pair) for pair in merges)])
    return models.BPE({token: number for number, token in enumerate(tokens)}, merges, **options)


def _byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(_bpe(alphabet, [*_WORDS, *(f"Ġ{word}" for word in _WORDS)], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def _sentence_piece() -> Tokenizer:
    letters = [*(f"<0x{byte:02X}>" for byte in range(256)), "<unk>", "▁", *map(chr, range(33, 127))]
    words = [*_WORDS, *(f"▁{word}" for word in _WORDS)]
    made = Tokenizer(_bpe(letters, words, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return made
