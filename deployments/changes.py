"""What applying did to one thing on the server."""

from typing import Literal

from tasks.config import Config

Action = Literal["created", "updated", "unchanged", "removed"]


class Change(Config):
    """One thing on the server, and what was done to it."""

    what: str
    """Pool, deployment, webhook or automation."""
    name: str
    action: Action
