"""Trees read as one row against every choice read by itself, for architectures that can and that cannot."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tasks.trainer.choices import ChoiceScorer
from tasks.trainer.prompts import Continuation
from tasks.trainer.shared_prefixes import Tree, tree_of

SMALL: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.6,
}
KV = {"num_key_value_heads": 2, "max_position_embeddings": 512}
ABLE: dict[str, dict[str, Any]] = {
    "LlamaConfig": SMALL | KV,
    "Qwen2Config": SMALL | KV,
    "Gemma3TextConfig": SMALL | KV | {"head_dim": 8, "sliding_window": 256, "num_hidden_layers": 7},
    "MistralConfig": SMALL | KV | {"sliding_window": 256},
    "GPT2Config": {"vocab_size": 90, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.6},
    "GPTNeoXConfig": SMALL | {"max_position_embeddings": 512},
}
UNABLE: dict[str, tuple[dict[str, Any], str]] = {
    "MistralConfig": (SMALL | KV | {"sliding_window": 64}, "its attention sees 64 tokens and the questions have up to"),
    "BloomConfig": ({"vocab_size": 90, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.6}, "its "),
    "MambaConfig": ({"vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.6}, "its "),
}


def model_of(name: str, settings: dict[str, Any]) -> Any:
    torch.manual_seed(3)
    config = getattr(transformers, name)(**settings, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    make: Any = transformers.AutoModelForCausalLM  # its functions have no annotations
    return make.from_config(config).eval()


@pytest.fixture(scope="module")
def trees() -> list[Tree]:
    """Questions with and without common examples, their choices of one to five tokens."""
    draw = np.random.default_rng(5)
    shots = draw.integers(3, 90, 100).tolist()
    made = []
    for number in range(9):
        context = [*(shots if number < 6 else []), *draw.integers(3, 90, 4 + number).tolist()]
        begin = draw.integers(3, 90, 2).tolist()
        choices = [
            begin[: size % 3] + draw.integers(3, 90, 1 if number % 3 == 0 else size).tolist() for size in range(1, 5)
        ]
        made.append(tree_of([Continuation(np.array(context + choice, np.int32), len(context)) for choice in choices]))
    return made


def alone(model: Any, trees: list[Tree]) -> list[list[float]]:
    """Every sequence by itself, without a mask or a cache."""
    found = []
    for tree in trees:
        sums = []
        for number in range(len(tree.wanted)):
            sequence = tree.sequence(number)
            ids = torch.as_tensor(sequence.ids, dtype=torch.long)
            with torch.no_grad():
                scores = model(ids[None, :-1]).logits[0].log_softmax(-1)
            sums.append(float(scores.gather(1, ids[1:, None])[sequence.start - 1 :].sum()))
        found.append(sums)
    return found


@pytest.mark.parametrize("name", ABLE)
@pytest.mark.parametrize("batch_size", [1, 16])
def test_architectures_that_take_a_mask_read_shared_tokens_once(name: str, batch_size: int, trees: list[Tree]) -> None:
    model = model_of(name, ABLE[name])
    scorer = ChoiceScorer(model, batch_size)
    found = dict(scorer(trees))
    assert scorer.refusal is None
    assert np.concatenate([found[number] for number in range(len(trees))]) == pytest.approx(
        np.concatenate(alone(model, trees)), abs=1e-3
    )


@pytest.mark.parametrize("name", UNABLE)
def test_others_are_read_plainly(name: str, trees: list[Tree]) -> None:
    settings, reason = UNABLE[name]
    model = model_of(name, settings)
    scorer = ChoiceScorer(model, 4)
    found = dict(scorer(trees))
    assert (scorer.refusal or "").startswith(reason)
    assert np.concatenate([found[number] for number in range(len(trees))]) == pytest.approx(
        np.concatenate(alone(model, trees)), abs=1e-3
    )


def test_a_wrong_mask_is_found_out(trees: list[Tree], monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the fast way wrong for some model, its first questions would tell."""
    monkeypatch.setattr(ChoiceScorer, "_mask", lambda *_: None)
    model = model_of("LlamaConfig", ABLE["LlamaConfig"])
    scorer = ChoiceScorer(model, 4)
    found = dict(scorer(trees))
    assert scorer.refusal is not None
    assert "nats from those of choices read one by one" in scorer.refusal
    assert np.concatenate([found[number] for number in range(len(trees))]) == pytest.approx(
        np.concatenate(alone(model, trees)), abs=1e-3
    )


def test_bfloat16_is_no_reason_to_read_plainly(trees: list[Tree]) -> None:
    scorer = ChoiceScorer(model_of("LlamaConfig", ABLE["LlamaConfig"] | {"initializer_range": 0.2}).bfloat16(), 16)
    assert dict(scorer(trees)).keys() == set(range(len(trees)))
    assert scorer.refusal is None


def test_shared_tokens_are_forwarded_once(trees: list[Tree]) -> None:
    """Besides the proof, whose tokens do not grow with the questions: the second half costs what it adds."""
    few, many = (ChoiceScorer(model_of("LlamaConfig", ABLE["LlamaConfig"]), 16) for _ in range(2))
    list(few(trees))
    list(many([*trees, *trees[:6]]))
    added = sum(len(tree.ids) - 100 for tree in trees[:6])
    assert many.forwarded_tokens - few.forwarded_tokens <= added
