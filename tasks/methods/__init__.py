"""The shelf of training methods: one module a method, one line in the union."""

from typing import Annotated

from pydantic import Field

from tasks.methods.full import Full
from tasks.methods.lora import Lora

Method = Annotated[Full | Lora, Field(discriminator="kind")]

__all__ = ["Full", "Lora", "Method"]
