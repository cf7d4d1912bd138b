"""What a recipe says of its judge."""

import os
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from tasks.artifacts.fingerprint import digest
from tasks.benchmarks.item import HELDOUT_ANSWERS
from tasks.config import Config

_DECIDES_NO_ANSWER = {"api_key_variable", "max_parallel", "timeout_seconds", "retries", "backoff_seconds", "model"}
"""How the judge is reached; a local model enters by its files instead of its path."""


class JudgeError(Exception):
    """A judge that cannot be asked as the recipe says."""


class JudgeConfig(Config):
    """A model that compares the tuned model's answers with the base model's, and with those of the one in production.

    Give either `endpoint` and `model_name`, or `model`.
    """

    # Somebody may have put a key where none belongs; no error repeats it.
    model_config = ConfigDict(hide_input_in_errors=True)

    endpoint: str | None = None
    """Base URL of an OpenAI-compatible endpoint, such as https://host/v1; `/chat/completions` is added."""
    model_name: str | None = Field(None, min_length=1)
    """The judging model as the endpoint calls it."""
    model: str | None = Field(None, min_length=1)
    """Folder of a local judging model, asked in a process of its own, instead of an endpoint."""
    api_key_variable: str | None = Field(None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Name of the environment variable that holds the endpoint's key, in capitals; never the key itself."""
    benchmarks: tuple[str, ...] = (HELDOUT_ANSWERS,)
    """Whose generated answers are compared: held-out prompts, or benchmarks of the recipe by name."""
    prompts: int = Field(400, ge=1)
    """Most prompts to compare, drawn by a stable hash. 80 resolve about ±10.5 points, 400 about ±4.7."""
    grades: bool = True
    """Also have answers to MT-Bench graded from 1 to 10, each by itself, as that benchmark prescribes."""
    sentinels: int = Field(10, ge=0)
    """Trick comparisons mixed in: half of two equal answers, which must tie; half with a spoiled one, which must
    lose."""
    max_wrong_sentinels: float = Field(0.25, ge=0, le=1)
    """Largest share of sentinels judged wrongly; above it the run is void."""
    max_unparsed: float = Field(0.1, ge=0, le=1)
    """Largest share of questions left without a readable verdict, failed ones included; above it the run is void."""
    max_tokens: int = Field(1024, ge=16)
    """Longest answer of the judge, in tokens."""
    seed: int = 0
    """Draws the prompts, the sentinels and the bootstrap samples."""
    price_per_million_input_tokens: float = Field(0.0, ge=0)
    """What a million tokens of questions cost, in any currency."""
    price_per_million_output_tokens: float = Field(0.0, ge=0)
    """What a million tokens of the judge's answers cost, in the same currency."""
    most_cost: float | None = Field(None, gt=0)
    """Most that the judgement may cost; nothing is asked that might exceed it. Needs the prices."""
    max_parallel: int = Field(8, ge=1, le=256)
    """Questions under way at once. Does not change the result."""
    timeout_seconds: float = Field(120.0, gt=0)
    """How long one question may take. Does not change what is answered."""
    retries: int = Field(4, ge=0)
    """Times that a question is asked again after a fault that may pass: a timeout, a rate limit, a server's error."""
    backoff_seconds: float = Field(2.0, ge=0, le=60)
    """Pause before the first retry; it doubles with each, up to a minute, unless the endpoint says how long to wait."""

    @field_validator("endpoint")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError where it is none
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("endpoint is no http:// or https:// address; give the base URL, such as https://host/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "endpoint holds more than an address; a key belongs into an environment variable that "
                "api_key_variable names, never into the recipe"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_judge(self) -> "JudgeConfig":
        if (self.endpoint is None) == (self.model is None):
            raise ValueError("a judge is either an endpoint or a local model; give exactly one of endpoint and model")
        if self.endpoint is not None and self.model_name is None:
            raise ValueError("model_name is missing; give the judging model as the endpoint calls it")
        if self.most_cost is not None and not self.cost(1, 1):
            raise ValueError(f"most_cost is {self.most_cost:g} and no price is set; give the prices per million tokens")
        return self

    def identity(self) -> dict[str, Any]:
        """All but how the judge is reached."""
        return self.model_dump(mode="json", exclude=_DECIDES_NO_ANSWER)

    def book_key(self, model: str | None) -> str:
        """Where this judge's answers are kept; `model` is the digest of a local judge's files."""
        judge = {"endpoint": self.endpoint, "model_name": self.model_name, "model": model}
        return f"judge-{digest(judge)[:16]}"

    def api_key(self) -> SecretStr | None:
        """The key from the environment. No error shows it."""
        if self.api_key_variable is None:
            return None
        key = os.environ.get(self.api_key_variable, "").strip()
        if not key:
            raise JudgeError(
                f"judge.api_key_variable is {self.api_key_variable}, but no such variable is set; set it where the "
                "flow runs"
            )
        if not (key.isascii() and key.isprintable()):
            raise JudgeError(
                f"the environment variable {self.api_key_variable} holds characters that no HTTP header can; "
                "set it to the key alone"
            )
        return SecretStr(key)

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """What so many tokens cost."""
        paid = input_tokens * self.price_per_million_input_tokens + output_tokens * self.price_per_million_output_tokens
        return paid / 1e6
