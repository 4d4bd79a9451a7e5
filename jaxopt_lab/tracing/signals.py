"""What was measured of each layer and activation of a model, and what follows for the signal through all of them."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["forward", "backward", "spread", "deviation", "copies", "centres", "over_turns"],
    meta_fields=["name", "fan_in", "num_units", "turns", "is_recurrent", "loop"],
)
@dataclasses.dataclass(frozen=True)
class LayerSignal:
    """One product or convolution with a weight.

    Attributes:
      name: the path of its weight.
      fan_in: numbers that one output is a sum over.
      num_units: outputs, the channels of a convolution.
      forward: rms over examples and units of its output, with the bias.
      backward: rms of the gradient of the sum of the examples' losses with respect to that output.
      spread: standard deviation over units of the examples' mean of the output.
      deviation: standard deviation over examples around each unit's mean, rms over units.
      copies: share of units that equal another unit on all examples, up to 1e-6 of their size.
      centres: the examples' mean of each unit's output, [num_units].
      turns: of the loop that it stands in, over which the numbers above are taken; 1 outside of loops.
      over_turns: rms of the gradient with respect to its output at the first step, over that at the last; NaN outside.
      is_recurrent: whether its data are carried from turn to turn.
      loop: tells loops apart; 0 outside.
    """

    name: str
    fan_in: int
    num_units: int
    forward: float
    backward: float
    spread: float
    deviation: float
    copies: float
    centres: np.ndarray = dataclasses.field(repr=False, compare=False)
    turns: int = 1
    over_turns: float = float("nan")
    is_recurrent: bool = False
    loop: int = 0


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["dead", "saturated", "active"],
    meta_fields=["operation", "layer", "num_units"],
)
@dataclasses.dataclass(frozen=True)
class ActivationSignal:
    """One elementwise nonlinearity.

    Attributes:
      operation: "relu", "relu6", "leaky_relu", "elu", "selu", "silu", "softplus", "gelu", "tanh" or "logistic".
      layer: the name of the last layer before it.
      num_units: size of the axis of units, the channels after a convolution.
      dead: share of units that pass no gradient on any example; of tanh and logistic: whose derivative is below 5 % of
        its largest on all, and whose output moves by less than 1e-3 of its range.
      saturated: share of (example, unit) where the derivative is below 5 % of its largest; NaN where it is one-sided.
      active: mean share of units with a positive input; NaN for tanh and logistic.
    """

    operation: str
    layer: str
    num_units: int
    dead: float
    saturated: float
    active: float


@dataclasses.dataclass(frozen=True)
class Signals:
    """What `measure_signals` found, in the order of the program, which is that of depth.

    Attributes:
      layers: all layers; the last is the output.
      activations: those that a later layer reads.
      num_examples: how many it was measured on.
      notes: what could not be seen.
    """

    layers: tuple[LayerSignal, ...] = ()
    activations: tuple[ActivationSignal, ...] = ()
    num_examples: int = 0
    notes: tuple[str, ...] = ()

    @property
    def in_depth(self) -> tuple[LayerSignal, ...]:
        """Layers one behind the other: of those in one loop, which may stand side by side, the last."""
        loops = [layer.loop for layer in self.layers]
        return tuple(
            layer
            for place, layer in enumerate(self.layers)
            if not layer.loop or loops[place + 1 : place + 2] != [layer.loop]
        )

    @property
    def num_hidden(self) -> int:
        """Number of layers in depth before the last."""
        return max(len(self.in_depth) - 1, 0)

    @property
    def recurrent_gain(self) -> float:
        """What the gradient changes by from a loop's last step to its first, in the loop where that is furthest from 1.

        Of several layers in one loop the largest counts, the best way back; 1 without a recurrent layer.
        """
        best: dict[int, float] = {}
        for layer in self.layers:
            if layer.is_recurrent and np.isfinite(layer.over_turns):
                best[layer.loop] = max(layer.over_turns, best.get(layer.loop, 0.0))
        return max(best.values(), key=lambda gain: abs(np.log(max(gain, 1e-300))), default=1.0)

    @property
    def forward_factors(self) -> np.ndarray:
        """Growth of `forward` from each hidden layer to the next, [num_hidden - 1]."""
        return _ratios([layer.forward for layer in self.in_depth[:-1]])

    @property
    def backward_factors(self) -> np.ndarray:
        """Growth of `backward` from each hidden layer to the one before, last layer first, [num_hidden - 1]."""
        return _ratios([layer.backward for layer in self.in_depth[:-1]][::-1])

    @property
    def forward_gain(self) -> float:
        """`forward` of the last hidden layer over that of the first; 1 with fewer than two."""
        return _gain([layer.forward for layer in self.in_depth[:-1]])

    @property
    def backward_gain(self) -> float:
        """`backward` of the first layer over that of the last hidden one; 1 with fewer than two."""
        return _gain([layer.backward for layer in self.in_depth[:-1]][::-1])

    @property
    def worst_dead(self) -> float:
        """Largest share of dead units in an activation, 0 without any."""
        return max((activation.dead for activation in self.activations), default=0.0)

    @property
    def worst_saturated(self) -> float:
        """Largest share of saturated entries in an activation, 0 without a bounded one."""
        shares = (activation.saturated for activation in self.activations)
        return max((share for share in shares if np.isfinite(share)), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """All of it but the centres as plain values."""
        fields = [field.name for field in dataclasses.fields(LayerSignal) if field.name != "centres"]
        layers = [{name: getattr(layer, name) for name in fields} for layer in self.layers]
        return dataclasses.asdict(self) | {
            "layers": layers,
            "forward_gain": self.forward_gain,
            "backward_gain": self.backward_gain,
            "worst_dead": self.worst_dead,
            "worst_saturated": self.worst_saturated,
        }


def _ratios(values: list[float]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(values[1:], np.float64) / np.asarray(values[:-1], np.float64)


def _gain(values: list[float]) -> float:
    return float(_ratios([values[0], values[-1]])[0]) if len(values) > 1 else 1.0
