"""How a classifier learns: the configuration of its training, which the stage and the trainer process share."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tasks.config import Config
from tasks.trainer.config import Dtype

ModuleName = Annotated[str, Field(min_length=1)]


class Full(Config):
    """Train every weight. The strongest method."""

    kind: Literal["full"] = "full"
    """Names the method."""


class Frozen(Config):
    """Train the classification head alone, on a base that stays as it is. Fast, and the weakest."""

    kind: Literal["frozen"] = "frozen"
    """Names the method."""


class FirstLayersFrozen(Config):
    """Freeze the embeddings and the first layers, which hold what is common to most texts; train all behind them."""

    kind: Literal["first_layers_frozen"] = "first_layers_frozen"
    """Names the method."""
    layers: Annotated[int, Field(ge=1)] | None = None
    """How many of the first layers are frozen, besides the embeddings; half of them when not set."""


class Lora(Config):
    """Train low-rank matrices beside the frozen weights, and the head; they are merged into the model at the end."""

    kind: Literal["lora"] = "lora"
    """Names the method."""
    rank: int = Field(16, ge=1)
    """Rank of the added matrices: more rank, more capacity and memory."""
    alpha: float = Field(32, gt=0)
    """Scale of the added matrices: their product is multiplied by alpha / rank."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the inputs of the added matrices that is dropped while training."""
    target_modules: Literal["all-linear"] | Annotated[list[ModuleName], Field(min_length=1)] = "all-linear"
    """Which layers get matrices: every linear layer of the base, or a list of layer names."""


def _named(value: Any) -> Any:
    """A method that is given by its name alone."""
    return {"kind": value} if isinstance(value, str) else value


ClassifierMethod = Annotated[
    Full | Frozen | FirstLayersFrozen | Lora, Field(discriminator="kind"), BeforeValidator(_named)
]


class EarlyStopping(Config):
    """Which epoch's model is kept, and when to stop because more epochs no longer help."""

    metric: Literal["macro_f1", "loss"] = "macro_f1"
    """What is measured on the validation rows after each epoch; the best model by it is the one that is kept."""
    patience: Annotated[int, Field(ge=1)] | None = 5
    """How many epochs in a row may bring no improvement; null trains to the end."""


class Settled(Config):
    """The settings that depend on the method and on the base, where the recipe leaves them open."""

    learning_rate: float
    epochs: float
    label_smoothing: float
    token_dropout: float


DEFAULTS: Mapping[str, Settled] = {
    "full": Settled(learning_rate=3e-5, epochs=5, label_smoothing=0.0, token_dropout=0.0),
    "first_layers_frozen": Settled(learning_rate=5e-5, epochs=5, label_smoothing=0.0, token_dropout=0.0),
    "lora": Settled(learning_rate=3e-4, epochs=8, label_smoothing=0.0, token_dropout=0.0),
    "frozen": Settled(learning_rate=1e-3, epochs=10, label_smoothing=0.0, token_dropout=0.0),
}
"""By method, for a base model that was trained on much text elsewhere."""

MADE_HERE: Mapping[str, Settled] = {
    "full": Settled(learning_rate=1e-3, epochs=12, label_smoothing=0.1, token_dropout=0.1),
    "first_layers_frozen": Settled(learning_rate=1e-3, epochs=12, label_smoothing=0.1, token_dropout=0.1),
    "lora": Settled(learning_rate=2e-3, epochs=12, label_smoothing=0.1, token_dropout=0.1),
    "frozen": Settled(learning_rate=2e-3, epochs=12, label_smoothing=0.1, token_dropout=0.1),
}
"""By method, for an encoder that was made from the recipe's own texts: small, and with little to forget."""

EXECUTION = frozenset({"micro_batch_size", "checkpoint_minutes", "timeout_seconds", "silence_seconds"})
"""Fields that say how a result is computed, and not what it is: they never enter the identity."""


class ClassifierTrainingConfig(Config):
    """How the classifier learns."""

    method: ClassifierMethod = Full()
    """Which weights learn: full, frozen, first_layers_frozen or lora, by name or with settings."""
    learning_rate: Annotated[float, Field(gt=0, lt=10)] | None = None
    """Highest learning rate of the schedule; chosen by the method and the base when not set."""
    epochs: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Passes over the training rows; may be a fraction. Chosen by the method and the base when not set."""
    batch_size: int = Field(32, ge=1)
    """Texts of one optimiser step."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises; then it falls in a straight line."""
    weight_decay: float = Field(0.01, ge=0, lt=1)
    """AdamW's weight decay; norms and biases are spared."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of certainty that is taken from the labels in training; chosen by the base when not set."""
    token_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the tokens that are masked in training, anew in each epoch; chosen by the base when not set. A base
    whose tokenizer has no mask token does without."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """How much an error on each label counts: balanced = the rarer the more, or numbers by label (others count 1)."""
    sampling: Literal["as_is", "balanced"] = "as_is"
    """Which rows an epoch has: each once, or as many drawn so that each label comes equally often."""
    early_stopping: EarlyStopping = EarlyStopping()
    """Which epoch's model is kept, and when to stop early."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Longest gradient; longer ones are scaled down. 0 sets no limit."""
    dtype: Dtype = "auto"
    """Precision; auto is bfloat16 on GPUs that have it, else float32."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Orders the rows, and starts the head, adapters and dropout."""
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Most texts of one forward pass; a whole batch when not set, and fewer once memory ran out."""
    checkpoint_minutes: float = Field(15, ge=0)
    """Longest time between checkpoints that a killed run resumes from; there is one after each epoch, too."""
    timeout_seconds: float | None = Field(None, gt=0)
    """Longest time that training may take; unlimited when not set."""
    silence_seconds: float = Field(1800, gt=0)
    """Longest time without a step or an evaluation; a trainer that is silent for longer is stopped, and resumed."""

    @model_validator(mode="after")
    def _weighted_once(self) -> "ClassifierTrainingConfig":
        if self.class_weights == "balanced" and self.sampling == "balanced":
            raise ValueError(
                "class_weights and sampling are both balanced, which would favour rare labels twice; choose one"
            )
        return self

    def settled(self, *, made_here: bool) -> Self:
        """The same with what is left open chosen by the method and by whether the base was made from these texts."""
        chosen = (MADE_HERE if made_here else DEFAULTS)[self.method.kind]
        open_fields = {name: value for name, value in chosen if getattr(self, name) is None}
        return self.model_copy(update=open_fields)

    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in EXECUTION}
