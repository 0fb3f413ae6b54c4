"""Encodings of observations as network inputs, and networks that fit an observation space."""

import math
from collections.abc import Callable
from typing import Any, Final, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_count
from lerax_fx.agents.networks import CNN, HIDDEN_GAIN, MLP, Activation
from lerax_fx.data import Timed
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.errors import WiringError, format_error
from lerax_fx.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from lerax_fx.typing import Key, Tree


class ObservationError(WiringError):
    """An observation is not of the space that an agent was made for."""


@final
class Encoding(eqx.Module):
    """An encoding of the observations of one space as floats; without arrays.

    - `shape`: of what comes out: `(size,)`, or `(height, width, channels)` for an image.
    - `categories`: for integers without an order, how many there are in each entry:
      they become one-hot. Empty for numbers.
    - `scale`: what numbers are multiplied with.
    - `timed`: whether observations are [`Timed`][lerax_fx.data.Timed]; their `dt` is the last
      entry of what comes out, as it is.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    categories: tuple[int, ...] = eqx.field(static=True, default=())
    scale: float = eqx.field(static=True, default=1.0)
    timed: bool = eqx.field(static=True, default=False)

    def __call__(self, observation: Tree) -> Float[Array, "..."]:
        """One observation of the space, as an array of `shape`.

        **Raises:** `WiringError` for an observation of another space.
        """
        if self.timed:
            if not isinstance(observation, Timed):
                raise self._misfit(observation)
            value = self._encode(observation.value, (self.shape[0] - 1,))
            return jnp.append(value, observation.dt)
        return self._encode(observation, self.shape)

    def _encode(self, observation: Tree, shape: tuple[int, ...]) -> Float[Array, "..."]:
        self._check(observation, shape)
        if self.categories:
            parts = jnp.reshape(observation, (len(self.categories),))
            hot = [jax.nn.one_hot(parts[i], n) for i, n in enumerate(self.categories)]
            return jnp.concatenate(hot)
        x = jnp.asarray(observation, jnp.result_type(float)).reshape(shape)
        return x if self.scale == 1.0 else x * self.scale

    def _check(self, observation: Tree, shape: tuple[int, ...]) -> None:
        """Check the size of an observation, and that categories are integers."""
        numbers = len(self.categories) or math.prod(shape)
        if not eqx.is_array_like(observation) or jnp.size(observation) != numbers:
            raise self._misfit(observation)
        if self.categories and not jnp.issubdtype(jnp.result_type(observation), jnp.integer):
            raise self._misfit(observation)

    def _misfit(self, observation: Tree) -> ObservationError:
        numbers = len(self.categories) or math.prod(self.shape) - self.timed
        kind = "integers" if self.categories else "numbers"
        return ObservationError(
            format_error(
                "observation",
                wanted=f"one array of {numbers} "
                f"{kind}{' with the time, fx.data.Timed' * self.timed}",
                got=_shapes(observation),
                fix="Make the agent for this environment's observation space, for instance with "
                "fx.actor_critic(env, key=key).",
            )
        )


def vector_encoding(where: str, space: Space) -> Encoding:
    """Observations as one vector. `Discrete` and `MultiDiscrete` become one-hot; numbers and bools
    become floats; bytes (uint8) are scaled to [0, 1]. The `dt` of a `TimedSpace` comes last.

    **Raises:** `WiringError` for a space whose elements are not one array.
    """
    if isinstance(space, TimedSpace):
        inner = vector_encoding(where, space.value)
        return Encoding((inner.shape[0] + 1,), inner.categories, inner.scale, timed=True)
    if isinstance(space, Discrete):
        return Encoding((space.n,), (space.n,))
    if isinstance(space, MultiDiscrete):
        return Encoding((sum(space.nvec),), space.nvec)
    if isinstance(space, Box | MultiBinary):
        return Encoding((_not_empty(where, space),), scale=_scale(space.dtype))
    raise WiringError(
        format_error(
            f"{where}: observations",
            wanted="one array: a Box, Discrete, MultiDiscrete or MultiBinary space",
            got=f"{space!r}",
            fix="Wrap the environment in fx.envs.FlattenObservation.",
        )
    )


def image_encoding(where: str, space: Space) -> Encoding:
    """Observations as images, height x width x channels; bytes (uint8) are scaled to [0, 1].

    **Raises:** `WiringError` for a space that holds no images.
    """
    if is_image(space):
        return Encoding(space.shape, scale=_scale(space.dtype))
    raise WiringError(
        format_error(
            f"{where}: observations",
            wanted="images, a Box of shape (height, width, channels)",
            got=f"{space!r}",
            fix="Use fx.agents.mlp_actor_critic, or fx.actor_critic, which picks the network.",
        )
    )


def is_image(space: Space) -> bool:
    """Whether a space is a `Box` of three axes: height, width and channels."""
    return isinstance(space, Box) and len(space.shape) == 3


def _scale(dtype: np.dtype[Any]) -> float:
    return 1 / 255 if dtype == np.uint8 else 1.0


def _not_empty(where: str, space: Space) -> int:
    if space.flat_size > 0:
        return space.flat_size
    raise WiringError(
        format_error(
            f"{where}: observations",
            wanted="at least one number",
            got=f"{space!r}",
            fix="Give the environment something to observe, a constant if need be.",
        )
    )


def _shapes(tree: Tree) -> str:
    leaves = [x for x in jax.tree.leaves(tree) if eqx.is_array_like(x)]
    if not eqx.is_array_like(tree):
        return f"a {type(tree).__name__} of {len(leaves)} arrays"
    return ", ".join(f"{jnp.result_type(x)}{list(jnp.shape(x))}" for x in jax.tree.leaves(tree))


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
    """The size of images of this encoding."""
    height, width, channels = encoding.shape
    return height, width, channels
