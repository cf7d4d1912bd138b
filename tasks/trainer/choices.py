"""Log-likelihoods of the choices of questions, by one of two ways that give the same.

The fast way reads the trees of several questions as one row under a mask by which each token sees its ancestors only,
behind the kept keys and values of the prefix that they share (tree attention: arXiv 2305.09781). It is proven on the
first questions of a run before it is trusted; the plain way reads every choice by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tasks.trainer.child import is_out_of_memory
from tasks.trainer.likelihood import LOGITS_BYTES, Targets, log_probabilities, logits_at
from tasks.trainer.models import attention_of
from tasks.trainer.shared_prefixes import Group, Tree, groups

ROW_TOKENS = 1024
"""Tokens of one row: enough to keep a device busy, few enough that what a token does not see costs little."""
LARGEST_TREE = 8192
"""Tokens of the longest sequence that is read in the fast way, whose mask grows with their square."""
PROVEN_TREES = 2
"""Questions of each sort that are read both ways."""
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""How far the two ways may lie apart, in nats: for float32 a whole choice, for bfloat16 each of its tokens.

In bfloat16 a logit of 32 is followed by 32.25.
"""


@dataclass
class ChoiceScorer:
    """Scores trees, and remembers what that took."""

    model: Any
    batch_size: int
    """Most questions of one row, or most texts of one batch."""
    forwarded_tokens: int = field(default=0, init=False)
    refusal: str | None = field(default=None, init=False)
    """Why the fast way was not taken."""

    def __call__(self, trees: Sequence[Tree]) -> Iterator[tuple[int, list[float]]]:
        """The number of each tree, as they come, and the log-likelihood of each of its sequences in nats."""
        grouped = list(groups(trees))
        self.refusal = self._unfit(trees) or self._disproof(trees, grouped)
        if self.refusal is not None:
            yield from self._plain(trees)
            return
        for group in grouped:
            for number, values in self._shared(trees, group):
                yield number, [float(each.sum()) for each in values]

    def _unfit(self, trees: Sequence[Tree]) -> str | None:
        """What stands against the fast way before it is tried."""
        config = self.model.config.get_text_config()
        if attention_of(self.model) not in ("sdpa", "eager"):
            return f"its attention is {attention_of(self.model)}, which takes no mask"
        longest = max((int(tree.depths.max()) + 1 for tree in trees), default=0)
        window = getattr(config, "sliding_window", None)
        if isinstance(window, int) and longest > window:
            return f"its attention sees {window} tokens and the questions have up to {longest}"
        if max((len(tree.ids) for tree in trees), default=0) > LARGEST_TREE:
            return f"there are questions of more than {LARGEST_TREE} tokens"
        return None

    def _disproof(self, trees: Sequence[Tree], grouped: Sequence[Group]) -> str | None:
        """Read some questions both ways; says how they differ."""
        for group in _samples(trees, grouped):
            sample = [trees[number] for number in group.members]
            try:
                fast = dict(self._shared(trees, group))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                return f"its architecture refuses the mask ({type(error).__name__}: {error})"
            plain = self._texts(sample)
            for number, values in zip(group.members, plain, strict=True):
                apart = _apart(fast[number], values, self.model.dtype)
                if not apart <= TOLERANCES[self.model.dtype]:
                    return f"its log-likelihoods differ by {apart:.2g} nats from those of choices read one by one"
        return None

    def _plain(self, trees: Sequence[Tree]) -> Iterator[tuple[int, list[float]]]:
        """In pieces, so that answers come while it works."""
        size = 8 * self.batch_size
        order = sorted(range(len(trees)), key=lambda number: -len(trees[number].ids))
        for start in range(0, len(order), size):
            numbers = order[start : start + size]
            for number, values in zip(numbers, self._texts([trees[each] for each in numbers]), strict=True):
                yield number, [float(each.sum()) for each in values]

    def _texts(self, trees: Sequence[Tree]) -> list[list[np.ndarray]]:
        """Log-probabilities of each sequence's tokens, each sequence read by itself."""
        owners = [(place, number) for place, tree in enumerate(trees) for number in range(len(tree.wanted))]
        sequences = [trees[place].sequence(number) for place, number in owners]
        texts = [Targets(each.ids, range(each.start, len(each.ids))) for each in sequences]
        self.forwarded_tokens += sum(len(text.ids) for text in texts)
        found = dict(log_probabilities(self.model, texts, self.batch_size))
        made: list[list[np.ndarray]] = [[] for _ in trees]
        for text, (place, _) in enumerate(owners):
            made[place].append(found[text])
        return made

    @torch.inference_mode()
    def _shared(self, trees: Sequence[Tree], group: Group) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Log-probabilities of each sequence's tokens, for each member."""
        prefix = len(group.prefix)
        cache = self._read(group.prefix) if prefix else None
        vocabulary = self.model.config.get_text_config().vocab_size
        for row in _rows(trees, group, self.batch_size, vocabulary):
            yield from zip(row, self._forward([trees[number] for number in row], prefix, cache), strict=True)
            if cache is not None:
                cache.crop(prefix - cache.get_seq_length())

    def _read(self, prefix: np.ndarray) -> Any:
        from transformers import DynamicCache

        cache = DynamicCache()  # without the config: windows are looked after above, and must not drop keys
        ids = torch.as_tensor(prefix, dtype=torch.long, device=self.model.device)[None]
        last = torch.tensor([len(prefix) - 1], device=ids.device)
        logits_at(self.model, ids, last, past_key_values=cache, use_cache=True)
        self.forwarded_tokens += len(prefix)
        return cache

    def _forward(self, trees: Sequence[Tree], prefix: int, cache: Any) -> list[list[np.ndarray]]:
        """One forward pass over one row of trees behind a prefix."""
        device = self.model.device
        sizes = [len(tree.ids) - prefix for tree in trees]
        starts = np.cumsum([0, *sizes])
        self.forwarded_tokens += int(starts[-1])
        ids = torch.as_tensor(np.concatenate([tree.ids[prefix:] for tree in trees]), dtype=torch.long)
        positions = torch.as_tensor(np.concatenate([tree.depths[prefix:] for tree in trees]), dtype=torch.long)
        predicting = [
            (tree, start - prefix, each) for tree, start in zip(trees, starts, strict=False) for each in tree.wanted
        ]
        nodes, places = np.unique(
            np.concatenate([each.nodes + start for _, start, each in predicting]), return_inverse=True
        )
        logits = logits_at(
            self.model,
            ids[None].to(device),
            torch.as_tensor(nodes, device=device),
            attention_mask=self._mask(trees, prefix, starts),
            position_ids=positions[None].to(device),
            past_key_values=cache,
            use_cache=cache is not None,
        )[0].float()
        targets = np.concatenate([each.targets for _, _, each in predicting])
        at = torch.as_tensor(places, device=device), torch.as_tensor(targets, dtype=torch.long, device=device)
        values = iter((logits[at] - logits.logsumexp(-1)[at[0]]).double().cpu().numpy())
        return [[np.array([next(values) for _ in each.nodes]) for each in tree.wanted] for tree in trees]

    def _mask(self, trees: Sequence[Tree], prefix: int, starts: np.ndarray) -> torch.Tensor:
        """What is added to attention scores (1, 1, row, prefix + row): nothing where a node sees, else the least."""
        size = int(starts[-1])
        seen = np.zeros((size, prefix + size), np.bool_)
        seen[:, :prefix] = True
        for tree, start in zip(trees, starts, strict=False):
            part = tree.visible(prefix)
            seen[start : start + len(part), prefix + start : prefix + start + len(part)] = part
        dtype = self.model.dtype
        mask = torch.zeros(seen.shape, dtype=dtype, device=self.model.device)
        mask.masked_fill_(~torch.as_tensor(seen, device=mask.device), torch.finfo(dtype).min)
        return mask[None, None]


def _rows(trees: Sequence[Tree], group: Group, batch_size: int, vocabulary: int) -> Iterator[list[int]]:
    """The members of a group, longest first, as rows of bounded size."""
    most_predictions = LOGITS_BYTES // (4 * vocabulary)
    row, tokens, predictions = list[int](), 0, 0
    for number in sorted(group.members, key=lambda each: -len(trees[each].ids)):
        size = len(trees[number].ids) - len(group.prefix)
        wanted = sum(len(each.nodes) for each in trees[number].wanted)
        full = len(row) == batch_size or tokens + size > ROW_TOKENS or predictions + wanted > most_predictions
        if row and full:
            yield row
            row, tokens, predictions = [], 0, 0
        row.append(number)
        tokens, predictions = tokens + size, predictions + wanted
    if row:
        yield row


def _samples(trees: Sequence[Tree], grouped: Sequence[Group]) -> Iterator[Group]:
    """The shortest questions with a shared prefix and without, and those that branch, as groups of their own."""
    sorts: dict[tuple[bool, bool], Group] = {}
    for group in grouped:
        for branches in (True, False):
            fitting = [number for number in group.members if (len(trees[number].ids) > trees[number].trunk) == branches]
            fitting = sorted(fitting, key=lambda number: len(trees[number].ids))[:PROVEN_TREES]
            if fitting:
                sorts.setdefault((len(group.prefix) > 0, branches), Group(fitting, group.prefix))
    yield from sorts.values()


def _apart(left: Sequence[np.ndarray], right: Sequence[np.ndarray], dtype: torch.dtype) -> float:
    """The largest difference of two ways: of sums in float32, of single tokens in coarser numbers."""
    if dtype == torch.float32:
        return max(abs(float(one.sum() - other.sum())) for one, other in zip(left, right, strict=True))
    return max(float(np.abs(one - other).max()) for one, other in zip(left, right, strict=True))
