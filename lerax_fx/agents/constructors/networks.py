"""Networks that fit a space of observations."""

from collections.abc import Callable
from typing import Any, Final

from lerax_fx._core.bounds import check_count
from lerax_fx.agents.activation import Activation
from lerax_fx.agents.convolution import CNN
from lerax_fx.agents.encoding import Encoding, image_encoding, is_image, vector_encoding
from lerax_fx.agents.mlp import HIDDEN_GAIN, MLP
from lerax_fx.environments.spaces import Space
from lerax_fx.types import Key

# Huang et al. 2022, "The 37 Implementation Details of Proximal Policy Optimization", detail
# 2: a policy that starts close to uniform, values of the usual size.
ACTOR_GAIN: Final = 0.01
CRITIC_GAIN: Final = 1.0


def network_for(
    where: str,
    space: Space,
    sizes: tuple[int, ...],
    activation: Activation,
    key: Key,
    *,
    layer_norm: bool = False,
    last_gain: float = 1.0,
) -> tuple[Encoding, Callable[..., Any]]:
    """An encoding and a network of layers of these sizes on it, the last one linear."""
    if is_image(space):
        encoding = image_encoding(where, space)
        size = image_size(encoding)
        return encoding, CNN(
            size,
            sizes,
            key=key,
            activation=activation,
            last_gain=last_gain,
            activate_last=False,
            layer_norm=layer_norm,
        )
    encoding = vector_encoding(where, space)
    sizes = (*encoding.shape, *sizes)
    network = MLP(sizes, key=key, activation=activation, last_gain=last_gain, layer_norm=layer_norm)
    return encoding, network


def torso_for(
    where: str, space: Space, width: int, depth: int, activation: Activation, key: Key
) -> tuple[Encoding, Callable[..., Any]]:
    """An encoding of a space's elements, and a network of `depth` activated layers on it;
    behind a convolution, for images.

    **Raises:** `WiringError` for a space without a network; `HyperparameterError` for an
    unknown activation or a size below 1.
    """
    hidden = hidden_sizes(where, width, depth, at_least=1)
    if is_image(space):
        encoding = image_encoding(where, space)
        return encoding, CNN(image_size(encoding), hidden, key=key, activation=activation)
    encoding = vector_encoding(where, space)
    mlp = MLP(
        (*encoding.shape, *hidden),
        key=key,
        activation=activation,
        last_gain=HIDDEN_GAIN,
        activate_last=True,
    )
    return encoding, mlp


def hidden_sizes(where: str, width: int, depth: int, *, at_least: int) -> tuple[int, ...]:
    """`depth` hidden layers of `width` units, checked."""
    count = check_count(f"{where}: depth", depth, at_least=at_least)
    return (check_count(f"{where}: width", width),) * count


def image_size(encoding: Encoding) -> tuple[int, int, int]:
    """Of images encoded so."""
    height, width, channels = encoding.shape
    return height, width, channels
