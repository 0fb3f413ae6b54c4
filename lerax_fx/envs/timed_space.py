"""The space of `Timed` observations."""

from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lerax_fx.data import Timed
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.spaces import Box, Space
from lerax_fx.typing import Flag, Key, Tree


@final
class TimedSpace(Space):
    """The space of [`Timed`][lerax_fx.data.Timed] observations: a value of one space, and a `dt`.

    `flatten` gives the value and then the `dt`, so that what takes vectors takes time as one
    input more.

    **Arguments:**

    - `value`: the space of the values.
    - `dt`: a `Box` of floats, of shape `()`.

    **Raises:** `HyperparameterError` for anything else.
    """

    value: Space
    dt: Box

    def __init__(self, value: Space, dt: Box):
        if not isinstance(value, Space):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers are not all type-checked
            raise HyperparameterError(
                format_error(
                    "TimedSpace: value",
                    wanted="a Space",
                    got=f"{value!r}",
                    fix="Pass the space of the observations, such as fx.spaces.Box(-1.0, 1.0, "
                    "(3,)).",
                )
            )
        is_box = isinstance(dt, Box)  # pyright: ignore[reportUnnecessaryIsInstance] -- callers are not all type-checked
        if not is_box or dt.shape != () or not jnp.issubdtype(dt.dtype, jnp.floating):
            raise HyperparameterError(
                format_error(
                    "TimedSpace: dt",
                    wanted="a Box of floats, of shape ()",
                    got=f"{dt!r}",
                    fix="Pass fx.spaces.Box(0.0, longest).",
                )
            )
        self.value = value
        self.dt = dt

    @property
    def shape(self) -> tuple[int, ...]:
        raise self._no_single_array("shape")

    @property
    def dtype(self) -> np.dtype[Any]:
        raise self._no_single_array("dtype")

    @property
    def flat_size(self) -> int:
        return self.value.flat_size + 1

    def sample(self, key: Key) -> Timed:
        value_key, dt_key = jax.random.split(key)
        return Timed(self.value.sample(value_key), self.dt.sample(dt_key))

    def contains(self, x: Any) -> Flag:
        if not isinstance(x, Timed):
            return jnp.zeros((), bool)
        return self.value.contains(x.value) & self.dt.contains(x.dt)

    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        return jnp.append(self.value.flatten(x.value), x.dt)

    def __repr__(self) -> str:
        return f"TimedSpace({self.value!r})"

    def _no_single_array(self, what: str) -> WiringError:
        return WiringError(
            format_error(
                f"TimedSpace: {what}",
                wanted=f"a space whose elements are one array, which has a {what}",
                got=f"{self!r}",
                fix="Ask its `value`, or use `flatten` and `flat_size`.",
            )
        )
