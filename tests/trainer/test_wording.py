"""What a log says of a trainer's events."""

from typing import Any

import pytest

from tasks.trainer.wording import duration_in_words, in_words


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            {"event": "progress", "step": 40, "total": 2000, "loss": 1.2344, "tokens_per_second": 5310.2},
            "step 40 of 2,000, loss 1.234, 5,310 tokens/s",
        ),
        ({"event": "evaluation", "step": 40, "heldout_loss": 1.5}, "step 40: held-out loss 1.5000"),
        (
            {"event": "started", "steps": 200, "first_step": 40, "device": "cpu", "isolation": {"samples": 3}},
            "training 200 steps, from step 40; device cpu",
        ),
        (
            {
                "event": "preflight",
                "micro_batch_size": 1,
                "gradient_checkpointing": True,
                "peak_memory_bytes": 3 * 2**30,
            },
            "chosen by a trial: 1 row a forward pass, activations computed twice, 3.00 GiB of memory at most",
        ),
        (
            {
                "event": "smoke",
                "step": 9,
                "tokens_per_second": 9,
                "seconds_left": 7200,
                "answers": 2,
                "answers_ended": 1,
            },
            "after 9 steps: 9 tokens/s, about 2.0 h left, 1 of 2 answers ended",
        ),
        ({"event": "checkpoint", "step": 9, "best_step": 5}, "step 9: checkpoint, the best so far is step 5"),
        (
            {"event": "diagnosis", "name": "learning_rate_too_high", "sentence": "it rises", "advice": "Lower it."},
            "learning rate too high: it rises. Lower it.",
        ),
        ({"event": "saved", "some_number": 1234, "is_so": True}, "saved: some number 1,234, is so yes"),
        ({"event": "alive"}, None),
        ({"event": "failed", "kind": "crashed"}, None),
    ],
)
def test_events_in_words(event: dict[str, Any], words: str | None) -> None:
    assert in_words(event) == words


def test_durations_in_words() -> None:
    assert [duration_in_words(seconds) for seconds in (40, 720, 12600)] == ["40 s", "12 min", "3.5 h"]
