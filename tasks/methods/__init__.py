"""The shelf of training methods: one module a method, one line in the union."""

from typing import Annotated

from pydantic import Field

from tasks.methods.dora import Dora
from tasks.methods.elastic import Elastic
from tasks.methods.first_layers_frozen import FirstLayersFrozen
from tasks.methods.full import Full
from tasks.methods.last_layers import LastLayers
from tasks.methods.lora import Lora
from tasks.methods.qlora import Qlora
from tasks.methods.regulariser import Regulariser

Method = Annotated[
    Full | Lora | Dora | Qlora | LastLayers | FirstLayersFrozen | Elastic,
    Field(discriminator="kind"),
]

__all__ = ["Dora", "Elastic", "FirstLayersFrozen", "Full", "LastLayers", "Lora", "Method", "Qlora", "Regulariser"]
