"""Greedy answers to prompts, in batches of similar length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.trainer.models import Tokenizer, longest_input, padding_id, plain_generation, stop_ids
from tasks.trainer.prompts import encode_prompt


@dataclass(frozen=True)
class Answer:
    """A generated text, whether a stop token ended it, and its tokens without that one."""

    text: str
    ended: bool
    tokens: int


def answers(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int,
    end_ids: Sequence[int] = (),
    on_batch: Callable[[int], None],
) -> list[Answer]:
    """One greedy answer a prompt, ended by `end_ids` as well. Prompts too long for the model lose their beginning."""
    limit = longest_input(model)
    if limit is not None and max_new_tokens >= limit:
        raise ValueError(f"max_new_tokens is {max_new_tokens} and the model takes {limit}. Lower it to leave room.")
    room = None if limit is None else limit - max_new_tokens
    encoded = [_last(encode_prompt(tokenizer, prompt), room) for prompt in prompts]
    stops, fill = sorted({*stop_ids(model, tokenizer), *end_ids}), padding_id(tokenizer)
    model.generation_config = plain_generation(stops, fill, max_new_tokens)
    order = sorted(range(len(encoded)), key=lambda index: (-len(encoded[index]), index))
    results: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        for index, new_ids in zip(indices, _generate(model, [encoded[i] for i in indices], fill), strict=True):
            results[index] = _answer(tokenizer, new_ids, stops)
        on_batch(len(results))
    return [results[index] for index in range(len(prompts))]


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


def _last(ids: list[int], room: int | None) -> list[int]:
    if not ids:
        raise ValueError("a prompt has no tokens. Give every generation item a prompt.")
    return ids if room is None else ids[-room:]


@torch.inference_mode()
def _generate(model: Any, prompts: list[list[int]], fill: int) -> list[list[int]]:
    """New ids of prompts padded on the left, where the mask hides the padding whatever its id."""
    length = max(len(ids) for ids in prompts)
    input_ids = torch.full((len(prompts), length), fill)
    mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(prompts):
        input_ids[row, length - len(ids) :] = torch.tensor(ids)
        mask[row, length - len(ids) :] = 1
    output = model.generate(input_ids=input_ids.to(model.device), attention_mask=mask.to(model.device))
    new_ids: list[list[int]] = output[:, length:].tolist()
    return new_ids


def _answer(tokenizer: Tokenizer, new_ids: list[int], stops: list[int]) -> Answer:
    """The text up to the first stop token; what follows it in a batch is padding."""
    end = next((index for index, token in enumerate(new_ids) if token in stops), None)
    kept = new_ids if end is None else new_ids[:end]
    return Answer(tokenizer.decode(kept, skip_special_tokens=True), end is not None, len(kept))
