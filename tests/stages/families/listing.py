"""A family's conversation as the pipeline tokenises it, as text."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import ChatTemplate, Trained
from tasks.algorithms.masks.proof import Proof, prove
from tasks.algorithms.tokens.arrays import Flags, Rendered, Tokens
from tasks.algorithms.tokens.encoding import TextEncoder
from tasks.algorithms.tokens.masking import NOT_TRAINED, trained_tokens
from tasks.conversation import MESSAGE
from tests.stages.families.family import Family

_WIDTH = 30


@dataclass(frozen=True)
class Made:
    """What the pipeline makes of a conversation."""

    rendered: Rendered
    tokens: Tokens
    trained: Flags
    proof: Proof


def make(family: Family) -> Made:
    """Render, tokenise, label and prove it."""
    begin, end = family.control[:2]
    encoder = TextEncoder(family.tokenizer(), {"bos_token": begin, "eos_token": end}, None)
    template, choice = ChatTemplate(family.source, bos=begin, eos=end), Trained()
    messages = [{name: turn.get(name) for name in MESSAGE.names} for turn in family.turns]
    columns = {"messages": pa.array([messages], pa.list_(MESSAGE)), "tools": pa.array([family.tools], pa.string())}
    batch = pa.RecordBatch.from_pydict(columns)
    rendered = Renderer(template, choice, special=encoder.special, added=encoder.added)(batch)
    tokens = encoder.tokens(rendered.texts, rendered.plain)
    trained = trained_tokens(tokens, rendered.trained)
    opening = np.array(sorted(encoder.tokenizer.get_added_tokens_decoder()), dtype=np.int32)
    proof = prove(batch.column("messages"), rendered, tokens, trained, encoder.spelling, choice, opening)
    return Made(rendered, tokens, trained, proof)


def listing(made: Made) -> str:
    """Token text, id and label, a token a line; texts of unrolled conversations one after the other."""
    return "\n".join(line for text in range(len(made.rendered.texts)) for line in _lines(made, text)) + "\n"


def _lines(made: Made, text: int) -> Iterator[str]:
    begin, end = made.tokens.offsets[text : text + 2].tolist()
    data, reached = made.rendered.texts[text].as_py().encode(), 0
    count = len(made.rendered.texts)
    yield f"# text {text + 1} of {count}: {end - begin} tokens, {made.trained[begin:end].sum()} trained"
    for token in range(begin, end):
        # Later tokens of one character add nothing to its text.
        first, reached = reached, max(reached, int(made.tokens.ends[token]))
        said = repr(data[first:reached].decode())
        label = made.tokens.ids[token] if made.trained[token] else NOT_TRAINED
        yield f"{said:<{_WIDTH}} | {made.tokens.ids[token]:>5} | {label:>5}"
