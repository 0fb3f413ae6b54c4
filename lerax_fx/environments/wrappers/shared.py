"""What several wrappers need."""

import jax
import jax.numpy as jnp

from lerax_fx.environments.env import Env
from lerax_fx.environments.running_statistics import RunningStatistics
from lerax_fx.environments.spaces import Box
from lerax_fx.errors import EnvironmentSetupError, HyperparameterError, explain
from lerax_fx.types import Tree


def first_of_batch(batch: Tree, like: Tree) -> Tree:
    """The first of a batch over any leading axes, none included; `like` has the shapes of
    one. For what is the same in all of them.
    """

    def first(leaf: jax.Array, one: jax.Array) -> jax.Array:
        return jnp.reshape(leaf, (-1, *one.shape))[0]

    return jax.tree.map(first, batch, like)


def check_shape(wrapper: str, statistics: RunningStatistics, shape: tuple[int, ...]) -> None:
    """**Raises:** `HyperparameterError` for statistics of another shape, which would be
    broadcast.
    """
    if statistics.mean.shape == shape and statistics.variance.shape == shape:
        return
    raise HyperparameterError(
        explain(
            f"{wrapper}: statistics",
            wanted=f"a mean and a variance of shape {shape}",
            got=f"{statistics.mean.shape} and {statistics.variance.shape}",
            fix="Take those of one environment, for instance by fx.frozen.",
        )
    )


def float_box(wrapper: str, env: Env) -> Box:
    """The action space of an environment whose actions are floats.

    **Raises:** `EnvironmentSetupError` for any other.
    """
    space = env.action_space
    if isinstance(space, Box) and jnp.issubdtype(space.dtype, jnp.floating):
        return space
    raise EnvironmentSetupError(
        explain(
            f"{wrapper}: env",
            wanted="actions that are one array of floats (a Box)",
            got=f"{env.name} with {space!r}",
            fix="Leave the wrapper out: these actions have no scale.",
        )
    )
