"""Memory made fresh by the first steps of a window."""

from dataclasses import replace
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.unroll import check_has_memory
from lerax_fx.data.transitions import Transitions
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Key, Tree


@final
class BurnIn(Transform[Transitions, Transitions]):
    """See [`burn_in`][lerax_fx.burn_in]."""

    steps: int = eqx.field(static=True)

    def init(self, agent: Tree, data: Shapes, key: Key) -> tuple[()]:
        del agent, data, key
        return ()

    def update(
        self, agent: Any, state: tuple[()], data: Transitions, key: Key
    ) -> Step[Transitions]:
        check_has_memory("burn_in: data", data.memory)
        length = data.reward.shape[1]
        if length <= self.steps:
            raise WiringError(
                explain(
                    "burn_in: steps",
                    wanted=f"windows of more than {self.steps} steps",
                    got=f"{length}",
                    fix=f"Draw longer ones: fx.replay(..., length={self.steps + 1}).",
                )
            )

        def burnt_in(window: Transitions, key: Key) -> Tree:
            first = jax.tree.map(lambda x: x[: self.steps], (window.observation, window.resets))
            memory, _ = agent.unroll(window.memory, *first, key)
            over = window.done[self.steps - 1]
            return jax.tree.map(lambda a, b: jnp.where(over, a, b), agent.initial_memory(), memory)

        rest = jax.tree.map(lambda x: x[:, self.steps :], replace(data, weight=None, memory=None))
        keys = jax.random.split(key, data.reward.shape[0])
        out = replace(rest, weight=data.weight, memory=jax.vmap(burnt_in)(data, keys))
        return Step(agent, state, out)


@known_names
def burn_in(steps: int) -> BurnIn:
    """Go through the first steps of each window only to make the memory for the others.

        replay(chain(burn_in(20), td_target(...), minimize(...)), length=60, ...)

    Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement
    Learning" (R2D2), section 3: what an agent remembered when it acted is not what it would
    remember now; after a few steps it nearly is. The agent as it is makes the memory, for its
    target network as well; no gradient goes through it. The steps are then gone from the
    window.

    **Raises:** `HyperparameterError` if `steps` is not an int of at least 1; `WiringError`, when
    traced, for windows that are not longer, or without memory.
    """
    return BurnIn(check_count("burn_in: steps", steps))
