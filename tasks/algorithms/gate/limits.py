"""What the gate allows beyond the forgetting of benchmarks: rates of bad answers, and losses."""

from pydantic import Field

from tasks.config import Config


class RateLimit(Config):
    """How much of a behaviour is too much, in percent of the answers."""

    rise: float = Field(5.0, ge=0, le=100)
    """A sure rise over the model compared with of more than these points fails."""
    cap: float | None = Field(None, ge=0, le=100)
    """A rate that is surely above this fails, whatever the other model does; no cap when not set."""


class BehaviourLimits(Config):
    """How much of each behaviour the tuned model may show in generated answers."""

    apology: RateLimit = RateLimit(cap=25)
    """Answers that say sorry."""
    refusal: RateLimit = RateLimit(cap=25)
    """Answers that decline to answer; benchmarks that ask for refusals are not counted."""
    echo: RateLimit = RateLimit(cap=25)
    """Answers that begin with a copy of the prompt."""
    loop: RateLimit = RateLimit(cap=25)
    """Answers that repeat themselves over and over."""
    template_leak: RateLimit = RateLimit(rise=2, cap=10)
    """Answers with pieces of the chat template in them."""
    not_ended: RateLimit = RateLimit(rise=10)
    """Answers cut off at the limit of tokens. A long right answer is cut, too, so there is no cap unless one is set."""


class LossLimits(Config):
    """How much a loss may surely rise, in nats a token."""

    heldout: float = Field(0.0, ge=0)
    """A sure rise of the held-out loss beyond this fails: training made the model worse at its own task."""
    text: float = Field(0.05, ge=0)
    """A sure rise of the loss on a text benchmark beyond this wants a look: an early sign of forgetting."""
