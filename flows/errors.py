"""What ends a command early, and what it says."""

from tasks.config import Config


class RecipeError(Exception):
    """A recipe that cannot be used: where, what is wrong, what to do."""


class Result(Config):
    """What a run came to."""

    run: str
    verdict: str
    reason: str
    publication: str
    """Address of the artifact with report and card."""
    evaluation: str
    version: int | None = None
    """The published version; none where the gate refused."""
    aliases: tuple[str, ...] = ()
    """What points to that version."""
    waiting: bool = False
    """Whether it still needs a person's approval."""
    remarks: tuple[str, ...] = ()
    """What people should know of the publication, a sentence each."""


class RefusedError(Exception):
    """The run is done, and its gate kept the model from being published."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result
