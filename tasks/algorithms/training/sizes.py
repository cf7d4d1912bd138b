"""The sizes that memory and time of training follow from: of a model, and of what a method makes of it."""

from typing import Literal

from pydantic import Field

from tasks.config import Config

Input = Literal["attention", "attention output", "mlp", "mlp output", "other"]
"""What a linear layer of a block reads: the first norm's output, the attention's, the second norm's, or the product
of gate and up."""


class Dimensions(Config):
    """Sizes of a decoder of Llama's kind."""

    layers: int = Field(ge=1)
    hidden: int = Field(ge=1)
    """Width of the stream between the blocks."""
    intermediate: int = Field(ge=1)
    """Width of the MLP's inside."""
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    """Heads of keys and values, which several query heads may share."""
    head_dim: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    """Rows of the embedding."""
    tied: bool
    """Whether head and embedding are one matrix."""
    parameters: int = Field(ge=1)
    """All weights, a tied matrix once."""
    block_products: int = Field(ge=1)
    """Weights of the blocks' linear layers, over all blocks: one multiplication and one addition a token each."""

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def head(self) -> int:
        """Weights of the output head, its own or the embedding's."""
        return self.vocabulary * self.hidden


class AdaptedLayer(Config):
    """A linear layer of a block with low-rank matrices beside it."""

    reads: Input
    inputs: int
    outputs: int


class Adapters(Config):
    """The low-rank matrices of one block."""

    rank: int = Field(ge=1)
    layers: tuple[AdaptedLayer, ...]
    dropout: bool = False
    magnitudes: bool = False
    """Whether the length of each weight's columns learns apart, as in DoRA."""


class Learning(Config):
    """What learns of a model, and what the rest is held in."""

    trainable: int = Field(ge=1)
    """Parameters that learn, the adapters' among them."""
    added: int = Field(0, ge=0)
    """Parameters that the method adds to the model's own: adapters, or a head that was the embedding."""
    quantised: int = Field(0, ge=0)
    """Parameters that are held in 4 bits."""
    trains_base: bool
    """Whether weights of the base learn: then all are held in float32."""
    first_block: int = Field(0, ge=0)
    """The first block that a gradient reaches; those before it keep nothing for the backward pass."""
    learned_products: int = Field(ge=0)
    """Weights of linear layers, the head among them, that learn themselves."""
    head_learns: bool
    adapters: Adapters | None = None
    anchored: bool = False
    """Whether the method keeps the first value of each weight that learns, and how much it matters."""
