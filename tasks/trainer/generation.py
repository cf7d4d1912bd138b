"""Greedy answers to prompts, in batches of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import StoppingCriteria

from tasks.trainer.models import Tokenizer, longest_input, padding_id, plain_generation, stop_ids


@dataclass(frozen=True)
class Question:
    """A prompt to answer, the texts that end its answer, and the most tokens of it."""

    ids: list[int]
    stop: tuple[str, ...]
    max_new_tokens: int


@dataclass(frozen=True)
class Answer:
    """A generated text without what ended it, whether something did, and its tokens without a stop token."""

    text: str
    ended: bool
    tokens: int
    truncated: bool = False
    """Whether the prompt lost its beginning."""


def answers(
    model: Any, tokenizer: Tokenizer, questions: Sequence[Question], *, batch_size: int, end_ids: Sequence[int] = ()
) -> Iterator[tuple[int, Answer]]:
    """The number of each question, as they come, and a greedy answer, ended by `end_ids` as well.

    Prompts too long for the model lose their beginning.
    """
    limit = longest_input(model)
    for question in questions:
        _require_room(question, limit)
    stops, fill = sorted({*stop_ids(model, tokenizer), *end_ids}), padding_id(tokenizer)
    for numbers in _batches(questions, batch_size):
        most = questions[numbers[0]].max_new_tokens
        room = None if limit is None else limit - most
        prompts = [questions[number].ids[-room if room else 0 :] for number in numbers]
        texts = [questions[number].stop for number in numbers]
        model.generation_config = plain_generation(stops, fill, most)
        made = _generate(model, prompts, fill, StopTexts(tokenizer, texts, max(map(len, prompts))))
        for number, prompt, new_ids in zip(numbers, prompts, made, strict=True):
            answer = _answer(tokenizer, new_ids, stops, questions[number].stop)
            yield number, replace(answer, truncated=len(prompt) < len(questions[number].ids))


def _require_room(question: Question, limit: int | None) -> None:
    if not question.ids:
        raise ValueError("a prompt has no tokens. Give every generation item a prompt.")
    if limit is not None and question.max_new_tokens >= limit:
        raise ValueError(
            f"max_new_tokens is {question.max_new_tokens} and the model takes {limit}. Lower it to leave room."
        )


def _batches(questions: Sequence[Question], batch_size: int) -> Iterator[list[int]]:
    """Numbers of questions that may take as many new tokens, those with the longest prompts first."""
    for most in sorted({question.max_new_tokens for question in questions}):
        alike = [number for number, question in enumerate(questions) if question.max_new_tokens == most]
        alike.sort(key=lambda number: -len(questions[number].ids))
        for start in range(0, len(alike), batch_size):
            yield alike[start : start + batch_size]


class StopTexts(StoppingCriteria):
    """Ends a row when its new text, prompt apart, holds one of its stop texts.

    transformers' own `stop_strings` also finds texts that begin in the prompt.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[Sequence[str]], begin: int) -> None:
        self._tokenizer, self._stops, self._begin = tokenizer, stops, begin
        # A character takes at most 4 tokens, and a token that spells nothing may stand in between.
        self._tails = [4 * max(map(len, texts), default=0) + 8 for texts in stops]

    @property
    def needed(self) -> bool:
        """Whether some row has a stop text."""
        return any(map(len, self._stops))

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Bool (rows): which rows have ended."""
        ended = [
            any(text in _text(self._tokenizer, ids[-tail:]) for text in texts) if texts else False
            for ids, texts, tail in zip(input_ids[:, self._begin :].tolist(), self._stops, self._tails, strict=True)
        ]
        return torch.tensor(ended, device=input_ids.device)


def complete(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[list[int]], max_new_tokens: int, end_ids: Sequence[int]
) -> list[Answer]:
    """One greedy answer to each prompt of token ids, by a model in training, which is left as it was."""
    stops, fill = sorted({*stop_ids(model, tokenizer), *end_ids}), padding_id(tokenizer)
    limit = longest_input(model)
    room = max_new_tokens if limit is None else min(max_new_tokens, limit - max(map(len, prompts)))
    if room < 1:
        return []
    was_training, kept, cached = model.training, model.generation_config, model.config.use_cache
    model.eval()
    model.config.use_cache = True
    model.generation_config = plain_generation(stops, fill, room)
    try:
        return [_answer(tokenizer, ids, stops) for ids in _generate(model, list(prompts), fill)]
    finally:
        model.generation_config, model.config.use_cache = kept, cached
        model.train(was_training)


@torch.inference_mode()
def _generate(model: Any, prompts: list[list[int]], fill: int, stop: StopTexts | None = None) -> list[list[int]]:
    """New ids of prompts padded on the left, where the mask hides the padding whatever its id."""
    length = max(len(ids) for ids in prompts)
    input_ids = torch.full((len(prompts), length), fill)
    mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(prompts):
        input_ids[row, length - len(ids) :] = torch.tensor(ids)
        mask[row, length - len(ids) :] = 1
    criteria = [] if stop is None or not stop.needed else [stop]
    output = model.generate(
        input_ids=input_ids.to(model.device), attention_mask=mask.to(model.device), stopping_criteria=criteria
    )
    new_ids: list[list[int]] = output[:, length:].tolist()
    return new_ids


def _answer(tokenizer: Tokenizer, new_ids: list[int], stops: list[int], stop_texts: Sequence[str] = ()) -> Answer:
    """The text up to the first stop token or stop text; what follows it in a batch is padding."""
    end = next((index for index, token in enumerate(new_ids) if token in stops), None)
    kept = new_ids if end is None else new_ids[:end]
    text = _text(tokenizer, kept)
    found = [text.index(each) for each in stop_texts if each in text]
    if not found:
        return Answer(text, end is not None, len(kept))
    # As many tokens as it took to write the stop text; a batch goes on until its last row ends.
    written = next(
        size for size in range(1, len(kept) + 1) if any(each in _text(tokenizer, kept[:size]) for each in stop_texts)
    )
    return Answer(text[: min(found)], True, written)


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True)
