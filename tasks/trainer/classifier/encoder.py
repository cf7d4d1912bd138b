"""The small encoder that is made from a recipe's own texts where it names no base model."""

from pydantic import Field, model_validator

from tasks.config import Config


class WarmUp(Config):
    """What the encoder learns before it sees a label: to guess masked words of the training texts."""

    epochs: float = Field(8, ge=0, le=1000)
    """Passes over the texts; 0 leaves the encoder as it was drawn."""
    mask_ratio: float = Field(0.3, gt=0, lt=1)
    """Share of the tokens that are to be guessed."""
    learning_rate: float = Field(1e-3, gt=0, lt=10)
    """Highest learning rate of the schedule."""
    batch_size: int = Field(32, ge=1)
    """Texts of one step."""


class EncoderConfig(Config):
    """The small encoder: its tokenizer, its shape and its warm-up, all from the training texts alone."""

    vocabulary: int = Field(8000, ge=200, le=1_000_000)
    """Most word pieces of the tokenizer."""
    min_frequency: int = Field(2, ge=1)
    """How often a word piece must occur to be one."""
    lowercase: bool = True
    """Whether case and accents are dropped."""
    layers: int = Field(2, ge=1, le=48)
    """Transformer layers."""
    hidden_size: int = Field(128, ge=8)
    """Width of the layers; a multiple of twice the heads."""
    heads: int = Field(4, ge=1)
    """Attention heads of each layer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of embeddings (not in the warm-up) and of layers' inner values that is dropped while training."""
    classifier_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of the text's vector that is dropped in front of the classifier while training."""
    max_length: int = Field(512, ge=8, le=8192)
    """Most tokens of a text that the encoder reads."""
    warm_up: WarmUp = WarmUp()
    """Masked language modelling on the training texts."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Draws the first weights, the order of the texts and the masks."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "EncoderConfig":
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size is {self.hidden_size} and heads is {self.heads}; twice the heads must divide the first, "
                "as each head rotates pairs of numbers"
            )
        return self
