"""Encodings of observations as network inputs, and networks that fit an observation space."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_count
from lerax_fx.agents.networks import CNN, HIDDEN_GAIN, MLP, Activation, CombinedNetwork
from lerax_fx.data import Timed
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.errors import WiringError, format_error
from lerax_fx.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
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
        wanted = f"one array of {numbers} {kind}{' with the time, fx.data.Timed' * self.timed}"
        return _misfit(wanted, observation)


Path = tuple[str | int, ...]
"""Keys of a Dict and places in a Tuple, from the outside in; `"value"` and `"dt"` of a `Timed`."""


@final
class StructuredEncoding(eqx.Module):
    """Observations of a `Dict` or a `Tuple` space, nested ones too, as floats.

    - `paths`: to each part of an observation that is seen.
    - `parts`: their encodings.

    What comes out is one vector, of the parts in this order; with images among them a tuple:
    the vector of the others, and each image, for a
    [`CombinedNetwork`][lerax_fx.agents.CombinedNetwork].
    """

    paths: tuple[Path, ...] = eqx.field(static=True)
    parts: tuple[Encoding, ...]

    def __call__(self, observation: Tree) -> Any:
        """One observation of the space, encoded.

        **Raises:** `WiringError` for an observation of another space.
        """
        found = [
            encoding(part_at(observation, path))
            for path, encoding in zip(self.paths, self.parts, strict=True)
        ]
        vector = jnp.concatenate([jnp.zeros(0), *(part for part in found if part.ndim == 1)])
        images = [part for part in found if part.ndim == 3]
        return (vector, *images) if images else vector

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the vector."""
        return (sum(part.shape[0] for part in self.parts if len(part.shape) == 1),)

    @property
    def image_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Height, width and channels of each image."""
        return tuple(part.shape for part in self.parts if len(part.shape) == 3)


def part_at(observation: Tree, path: Path) -> Any:
    """A part of an observation.

    **Raises:** `WiringError` for an observation without it.
    """
    part: Any = observation
    for name in path:
        try:
            part = getattr(part, str(name)) if isinstance(part, Timed) else part[name]
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise _misfit(f"one with an entry {name!r}", part) from error
    return part


def _misfit(wanted: str, observation: Tree) -> ObservationError:
    return ObservationError(
        format_error(
            "observation",
            wanted=wanted,
            got=_shapes(observation),
            fix="Make the agent for this environment's observation space, for instance with "
            "fx.actor_critic(env, key=key).",
        )
    )


AnyEncoding = Encoding | StructuredEncoding


def vector_encoding(where: str, space: Space) -> AnyEncoding:
    """Observations as one vector. `Discrete` and `MultiDiscrete` become one-hot; numbers and
    bools become floats; bytes (uint8) are brought to [0, 1]. The `dt` of a `TimedSpace`
    comes last. The parts of a `Dict` or a `Tuple` are encoded one by one and concatenated, those
    of a `Dict` in the order of its sorted keys.

    **Raises:** `WiringError` for a space of another kind.
    """
    if is_structured(space):
        return _structured(where, space, images=False)
    return _array_encoding(where, space)


def _array_encoding(where: str, space: Space) -> Encoding:
    if isinstance(space, TimedSpace):
        inner = _array_encoding(where, space.value)
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
            wanted="a Box, Discrete, MultiDiscrete or MultiBinary space, or a Dict or Tuple of "
            "these",
            got=f"{space!r}",
            fix="Write an environment whose observations are one of these.",
        )
    )


def _structured(where: str, space: Space, *, images: bool) -> StructuredEncoding:
    """With `images`, these are kept as they are; else they are flattened."""
    paths: list[Path] = []
    parts: list[Encoding] = []

    def add(path: Path, space: Space) -> None:
        if isinstance(space, TimedSpace):
            add((*path, "value"), space.value)
            add((*path, "dt"), space.dt)
        elif isinstance(space, Dict | Tuple):
            entries = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
            for name, entry in entries:
                add((*path, name), entry)
        else:
            paths.append(path)
            whole = images and is_image(space)
            parts.append(_image(space) if whole else _array_encoding(where, space))

    add((), space)
    _not_empty(where, space)
    return StructuredEncoding(tuple(paths), tuple(parts))


def image_encoding(where: str, space: Space) -> AnyEncoding:
    """Observations as images, height x width x channels; bytes (uint8) are brought to [0, 1].
    Of a `Dict` or a `Tuple` with images among its parts, the others become one vector.

    **Raises:** `WiringError` for a space that holds no images.
    """
    if is_image(space):
        return _image(space)
    if has_images(space):
        return _structured(where, space, images=True)
    raise WiringError(
        format_error(
            f"{where}: observations",
            wanted="images, a Box of shape (height, width, channels), alone or in a Dict or Tuple",
            got=f"{space!r}",
            fix="Use fx.agents.mlp_actor_critic, or fx.actor_critic, which picks the network.",
        )
    )


def is_image(space: Space) -> bool:
    """Whether a space is a `Box` of three axes: height, width and channels."""
    return isinstance(space, Box) and len(space.shape) == 3


def is_structured(space: Space) -> bool:
    """Whether it is a Dict or a Tuple, with or without the time."""
    return isinstance(space.value if isinstance(space, TimedSpace) else space, Dict | Tuple)


def has_images(space: Space) -> bool:
    """Whether it is an image, or has one among its parts."""
    if isinstance(space, TimedSpace):
        return is_structured(space) and has_images(space.value)
    if isinstance(space, Dict):
        return any(map(has_images, space.spaces.values()))
    if isinstance(space, Tuple):
        return any(map(has_images, space.spaces))
    return is_image(space)


def _image(space: Space) -> Encoding:
    return Encoding(space.shape, scale=_scale(space.dtype))


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
) -> tuple[AnyEncoding, Callable[..., Any]]:
    """An encoding and a network of layers of these sizes on it, the last one linear."""
    options: dict[str, Any] = {
        "activation": activation,
        "last_gain": last_gain,
        "layer_norm": layer_norm,
    }
    if has_images(space):
        encoding = image_encoding(where, space)
        return encoding, image_network(encoding, sizes, key=key, activate_last=False, **options)
    encoding = vector_encoding(where, space)
    return encoding, MLP((*encoding.shape, *sizes), key=key, **options)


def torso_for(
    where: str, space: Space, width: int, depth: int, activation: Activation, key: Key
) -> tuple[AnyEncoding, Callable[..., Any]]:
    """An encoding of a space's elements, and a network of `depth` activated layers on it;
    behind a convolution, for images.

    **Raises:** `WiringError` for a space without a network; `HyperparameterError` for an
    unknown activation or a size below 1.
    """
    hidden = hidden_sizes(where, width, depth, at_least=1)
    if has_images(space):
        encoding = image_encoding(where, space)
        return encoding, image_network(encoding, hidden, key=key, activation=activation)
    encoding = vector_encoding(where, space)
    mlp = MLP(
        (*encoding.shape, *hidden),
        key=key,
        activation=activation,
        last_gain=HIDDEN_GAIN,
        activate_last=True,
    )
    return encoding, mlp


def image_network(
    encoding: AnyEncoding, sizes: Sequence[int], **options: Any
) -> CNN | CombinedNetwork:
    """The network for observations encoded by `image_encoding`."""
    if isinstance(encoding, StructuredEncoding):
        images = [_size(shape) for shape in encoding.image_shapes]
        return CombinedNetwork(encoding.shape[0], images, sizes, **options)
    return CNN(_size(encoding.shape), sizes, **options)


def hidden_sizes(where: str, width: int, depth: int, *, at_least: int) -> tuple[int, ...]:
    """`depth` hidden layers of `width` units, checked."""
    count = check_count(f"{where}: depth", depth, at_least=at_least)
    return (check_count(f"{where}: width", width),) * count


def _size(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = shape
    return height, width, channels
