"""Rendered text to token ids, as lm-evaluation-harness does it (`lm_eval/api/model.py: _encode_pair`)."""

from dataclasses import dataclass

from tasks.trainer.models import Tokenizer


@dataclass(frozen=True)
class Continuation:
    """A text to score: all token ids, and the index of the first that belongs to the continuation (at least 1)."""

    ids: list[int]
    start: int
    truncated: bool = False


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a prompt: BOS in front where the tokenizer puts one by default and the text does not start with it.

    An end of sequence that a tokenizer would append by default is never added: the text goes on.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    if tokenizer.bos_token_id is None or (tokenizer.bos_token and text.startswith(tokenizer.bos_token)):
        return ids
    by_default = tokenizer.encode("a", add_special_tokens=True)
    return [tokenizer.bos_token_id, *ids] if by_default[:1] == [tokenizer.bos_token_id] else ids


def encode_continuation(tokenizer: Tokenizer, prompt: str, choice: str, limit: int | None) -> Continuation:
    """Prompt and choice tokenised together and cut where the prompt alone would end.

    Blanks at the end of the prompt go to the choice, as most tokenizers join them with the next word. The context is
    cut from the left to `limit` tokens of input; a choice that does not fit raises ValueError.
    """
    if not choice:
        raise ValueError(f"a choice of the prompt {prompt[:60]!r} is empty. Give every choice at least one character.")
    context = prompt.rstrip()
    ids = encode_prompt(tokenizer, prompt + choice)
    prefix = encode_prompt(tokenizer, context)
    start = min(len(prefix), len(ids) - 1)
    if start == 0:  # nothing to condition on: lm-evaluation-harness puts BOS, or else the end of sequence, in front
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if first is None:
            raise ValueError("the prompt is empty and the tokenizer has neither BOS nor EOS to start from.")
        ids, start = [first, *ids], 1
    excess = 0 if limit is None else max(0, len(ids) - (limit + 1))  # the last token is only a target
    if excess >= start:
        raise ValueError(f"the choice {choice[:60]!r} has {len(ids) - start} tokens and the model takes {limit}.")
    return Continuation(ids[excess:], start - excess, truncated=excess > 0)
