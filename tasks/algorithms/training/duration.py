"""How long training takes and what it costs, before it starts: by the work of a token, or by an earlier run's speed.

A weight of a linear layer costs a token 2 operations in the forward pass, 2 for the gradient that is passed on, and 2
for its own where it learns (Kaplan et al., arXiv 2001.08361: 6 N a token for full training, 4 N for adapters).
Attention adds 2 · layers · width · length forward, as half of all pairs are masked, and twice that backward.
Checkpointing computes the forward pass of the blocks again: a third more where every weight learns.
"""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from tasks.algorithms.training.sizes import Dimensions, Learning
from tasks.config import Config

SHARE_OF_PEAK = 0.4
"""Of a device's peak, what training usually reaches: 0.35 to 0.5 (llm-foundry's table has 0.46 for 7B on H100)."""

TERA, GIBI = 1e12, 2**30


class Device(Config):
    """What a device can do at most."""

    name: str
    bfloat16: float | None
    """Operations a second on dense matrices; none where it has no bfloat16."""
    float32: float
    """The same in float32, without TF32."""
    memory: int
    """Bytes."""

    def peak(self, compute_bytes: int) -> float:
        """Operations a second in the precision of the computation."""
        return self.float32 if self.bfloat16 is None or compute_bytes == 4 else self.bfloat16


def _device(name: str, bfloat16: float | None, float32: float, gibi: float) -> Device:
    return Device(
        name=name,
        bfloat16=None if bfloat16 is None else bfloat16 * TERA,
        float32=float32 * TERA,
        memory=round(gibi * GIBI),
    )


# Dense figures of NVIDIA's data sheets (those with sparsity are twice as high): HGX B200, H200, H100, A100, L40S, L4,
# V100; Ada and Ampere GA102 white papers for RTX 4090 and 3090 (bfloat16 with float32 accumulation); AWS's G5 page for
# the A10G. Memory as nvidia-smi gives it.
_DEVICES = (
    _device("b200", 2250, 75, 179),
    _device("h200", 989, 67, 140),
    _device("h100", 989, 67, 79.6),
    _device("h100-pcie", 756, 51, 79.6),
    _device("a100", 312, 19.5, 80),
    _device("a100-40gb", 312, 19.5, 40),
    _device("l40s", 362, 91.6, 45),
    _device("l4", 121, 30.3, 22.5),
    _device("a10g", 70, 35, 22.5),
    _device("rtx4090", 165, 82.6, 24),
    _device("rtx3090", 71, 35.6, 24),
    _device("v100", None, 15.7, 32),
)
DEVICES: Mapping[str, Device] = MappingProxyType({device.name: device for device in _DEVICES})
"""By name; v100 has no bfloat16, so training there computes in float32."""


def known_device(name: str) -> Device | None:
    """The device that a recipe or a driver calls so, as `h100` or `NVIDIA A100-SXM4-40GB`; none where it is unknown."""
    words = set(re.findall(r"[a-z0-9]+", re.sub(r"rtx[ -]*", "rtx", name.lower())))
    fitting = [device for device in _DEVICES if words.issuperset(device.name.split("-"))]
    return max(fitting, key=lambda device: len(device.name), default=None)


def rows_in_all(rows: int, epochs: float) -> int:
    """Rows of a whole run, each as often as it is trained."""
    return max(1, math.ceil(round(rows * epochs, 6)))


def operations_per_token(
    model: Dimensions, learning: Learning, *, sample_tokens: int, checkpointing: bool = False
) -> float:
    """Of one token in training, in a sample of so many."""
    adapters = learning.added if learning.adapters is not None else 0
    # transformers lets checkpointed blocks pass gradients on, frozen ones too.
    reached = 1 if checkpointing else (model.layers - learning.first_block) / model.layers
    learned = learning.learned_products - adapters
    blocks, attention = 2 * model.block_products, 2 * model.layers * model.queries * sample_tokens
    forward = blocks + attention + 2 * model.head + 2 * adapters
    backward = reached * (blocks + 2 * attention) + 2 * model.head + 2 * learned + 4 * adapters
    again = reached * (blocks + attention) + 2 * adapters if checkpointing else 0
    return forward + backward + again


def seconds_of(operations: float, device: Device, compute_bytes: int, devices: int = 1) -> float:
    """How long so many operations take on devices that reach the usual share of their peak."""
    return operations / (device.peak(compute_bytes) * SHARE_OF_PEAK * devices)


def cost_of(seconds: float, devices: int, price_per_device_hour: float) -> float:
    """In the currency of the price."""
    return seconds / 3600 * devices * price_per_device_hour
