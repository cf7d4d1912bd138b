"""What a trainer process tells, in words for people."""

from collections.abc import Mapping
from typing import Any


def progress_in_words(event: Mapping[str, Any]) -> str:
    """`loss 1.234, 5,310 tokens/s`, for a `progress` event of a training step."""
    told = []
    if event.get("loss") is not None:
        told.append(f"loss {event['loss']:.3f}")
    if event.get("tokens_per_second") is not None:
        told.append(f"{event['tokens_per_second']:,.0f} tokens/s")
    return ", ".join(told)


def in_words(event: Mapping[str, Any]) -> str | None:
    """A line for the log; none for what only machines need."""
    match event:
        case {"event": "started", "steps": steps}:
            begun = f", from step {event['first_step']:,}" if event.get("first_step") else ""
            return f"training {steps:,} steps{begun}; {_named(event, ('event', 'steps', 'first_step', 'isolation'))}"
        case {"event": "preflight", "micro_batch_size": size}:
            return f"chosen by a trial: {_rows(size)} a forward pass{_checkpointing(event)}{_memory(event)}"
        case {"event": "smoke", "step": step}:
            return f"after {step:,} steps: {', '.join(_smoke(event))}"
        case {"event": "evaluation", "step": step, "heldout_loss": loss, "macro_f1": f1}:
            return f"step {step:,}: validation macro-F1 {f1:.4f}, loss {loss:.4f}"
        case {"event": "evaluation", "step": step, "heldout_loss": loss}:
            return f"step {step:,}: held-out loss {loss:.4f}"
        case {"event": "checkpoint", "step": step}:
            best = event.get("best_step")
            return f"step {step:,}: checkpoint" + (f", the best so far is step {best:,}" if best is not None else "")
        case {"event": "diagnosis"}:
            return diagnosis_in_words(event)
        case {"event": "isolated"}:
            return f"packed samples are isolated: {_named(event, ('event',))}"
        case {"event": "progress", "step": step, "total": total}:
            return f"step {step:,} of {total:,}, {progress_in_words(event)}"
        case {"event": "alive" | "finished" | "failed"}:
            return None
        case _:
            return f"{event['event']}: {_named(event, ('event',))}"


def diagnosis_in_words(diagnosis: Mapping[str, Any]) -> str:
    """`overfitting: …`, with what to do."""
    told = f"{str(diagnosis['name']).replace('_', ' ')}: {str(diagnosis['sentence']).rstrip('.')}."
    return f"{told} {diagnosis['advice']}" if diagnosis.get("advice") else told


def duration_in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _smoke(event: Mapping[str, Any]) -> list[str]:
    told = [progress_in_words(event)] if event.get("tokens_per_second") is not None else []
    if event.get("seconds_left") is not None:
        told.append(f"about {duration_in_words(event['seconds_left'])} left")
    if event.get("cost") is not None:
        told.append(f"cost about {event['cost']:,.2f} in all")
    if event.get("heldout_loss") is not None:
        told.append(f"held-out loss {event['heldout_loss']:.4f}")
    if event.get("answers"):
        told.append(f"{event['answers_ended']} of {event['answers']} answers ended")
    return told


def _rows(size: int) -> str:
    return f"{size:,} row{'' if size == 1 else 's'}"


def _checkpointing(event: Mapping[str, Any]) -> str:
    return ", activations computed twice" if event.get("gradient_checkpointing") else ""


def _memory(event: Mapping[str, Any]) -> str:
    peak = event.get("peak_memory_bytes")
    return "" if peak is None else f", {peak / 2**30:,.2f} GiB of memory at most"


def _named(event: Mapping[str, Any], without: tuple[str, ...]) -> str:
    told = {name: value for name, value in event.items() if name not in without and value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in told.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
