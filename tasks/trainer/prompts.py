"""Rendered text to token ids, as lm-evaluation-harness does it (`lm_eval/api/model.py: _encode_pair`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.algorithms.tokens.neutral_tokens import NeutralTokens, Span
from tasks.trainer.models import Tokenizer


@dataclass(frozen=True)
class Continuation:
    """A text to score: all token ids, and the index of the first that belongs to the continuation (at least 1)."""

    ids: np.ndarray
    start: int
    truncated: bool = False


class PromptEncoder:
    """Encodes prompts, with or without a chat template's control tokens.

    Plain prompts get a BOS where the tokenizer puts one by default, and control tokens that they spell stay text.
    Rendered ones have their BOS from the template or not at all, as in training, and spell their control tokens; byte
    ranges of them that a person wrote may be named as plain. An end of sequence that a tokenizer would append by
    default is never added: the text goes on.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer: Any = tokenizer  # the protocol names what all of the trainer needs
        self._bos = tokenizer.bos_token_id
        by_default = tokenizer.encode("a", add_special_tokens=True)[:1]
        self._first = by_default if self._bos is not None and by_default == [self._bos] else []
        self._neutral: NeutralTokens | None = None

    def prompt(self, text: str, *, special: bool = False, plain: Sequence[Span] = ()) -> list[int]:
        """Ids of a prompt."""
        if not special:
            return [*self._first, *self._encode(text, split=True)]
        return self._kept_apart(text, plain) if plain else self._encode(text, split=False)

    def text(self, text: str) -> list[int]:
        """Ids of a plain text whose tokens are all predicted, behind the token that they are predicted from."""
        return [self._opening(), *self._encode(text, split=True)]

    def continuations(
        self,
        prompt: str,
        choices: Sequence[str],
        limit: int | None,
        *,
        special: bool = False,
        plain: Sequence[Span] = (),
    ) -> list[Continuation]:
        """Prompt and choice tokenised together and cut where the prompt alone would end, for each choice.

        Blanks at the end of the prompt go to the choice, as most tokenizers join them with the next word. The context
        is cut from the left to `limit` tokens of input; a choice that does not fit raises ValueError.
        """
        context = len(self.prompt(prompt.rstrip(), special=special, plain=_within(plain, prompt.rstrip())))
        return [
            self._continuation(
                prompt, choice, self.prompt(prompt + choice, special=special, plain=plain), context, limit
            )
            for choice in choices
        ]

    def _continuation(self, prompt: str, choice: str, ids: list[int], context: int, limit: int | None) -> Continuation:
        if not choice:
            raise ValueError(
                f"a choice of the prompt {prompt[-60:]!r} is empty. Give every choice at least one character."
            )
        start = min(context, len(ids) - 1)
        if start == 0:  # nothing to condition on: lm-evaluation-harness puts BOS, or else the end of sequence, in front
            ids, start = [self._opening(), *ids], 1
        excess = 0 if limit is None else max(0, len(ids) - (limit + 1))  # the last token is only a target
        if excess >= start:
            raise ValueError(f"the choice {choice[:60]!r} has {len(ids) - start} tokens and the model takes {limit}.")
        return Continuation(np.array(ids[excess:], np.int32), start - excess, truncated=excess > 0)

    def _opening(self) -> int:
        first = self._bos if self._bos is not None else self._tokenizer.eos_token_id
        if first is None:
            raise ValueError("the prompt is empty and the tokenizer has neither BOS nor EOS to start from.")
        return int(first)

    def _encode(self, text: str, *, split: bool) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=split)
        return ids

    def _kept_apart(self, text: str, plain: Sequence[Span]) -> list[int]:
        if self._neutral is None:
            self._neutral = NeutralTokens(self._tokenizer.backend_tokenizer)
        ids: list[int] = self._neutral([text], [plain]).ids.tolist()
        return ids


def _within(plain: Sequence[Span], text: str) -> list[Span]:
    end = len(text.encode()) if plain else 0
    return [(begin, min(stop, end)) for begin, stop in plain if begin < end]
