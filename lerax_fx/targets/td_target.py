"""Targets for action values, by temporal differences."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count, check_flag, check_number
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.hidden_state import has_memory
from lerax_fx.agents.protocols import QNetwork, check_agent_family, check_q_values
from lerax_fx.agents.unroll import (
    agent_key,
    check_has_memory,
    next_outputs,
    split_keys,
    unroll_batch,
)
from lerax_fx.data.durations import durations
from lerax_fx.data.targets import Targets
from lerax_fx.data.transitions import Transitions
from lerax_fx.errors import WiringError, explain
from lerax_fx.targets.network import AbstractTargetUpdate, checked_update
from lerax_fx.types import Count, Fraction, Interval, Key, Tree


@final
class TargetState(eqx.Module):
    """`network`: the arrays of the target network; `updates`: how many there were."""

    network: Tree
    updates: Count


def start_following(agent: Tree) -> TargetState:
    """A target network that is the agent's own."""
    return TargetState(eqx.filter(agent, eqx.is_array), jnp.zeros((), jnp.int32))


def follow_agent(
    follow: AbstractTargetUpdate, agent: Tree, state: TargetState
) -> tuple[Any, TargetState]:
    """The agent with the next target network for its arrays, and the state after that."""
    online, fixed = eqx.partition(agent, eqx.is_array)
    network = follow(online, state.network, state.updates)
    return eqx.combine(network, fixed), TargetState(network, state.updates + 1)


@final
class TDTarget(Transform[Transitions, Targets]):
    """See [`td_target`][lerax_fx.td_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    double: bool = eqx.field(static=True)
    follow: AbstractTargetUpdate

    def init(self, agent: Tree, data: Shapes, key: Key) -> TargetState:
        del data, key
        return start_following(agent)

    def update(self, agent: Tree, state: TargetState, data: Transitions, key: Key) -> Step[Targets]:
        target_agent, state = follow_agent(self.follow, agent, state)
        bootstraps = bootstrap_each(self.name, data, self.n, self.discount)
        values = self._values(agent, target_agent, data, bootstraps, key)
        target = bootstraps.target(values)
        starts = target.shape[1]
        observation, action, resets = jax.tree.map(
            lambda x: x[:, :starts], (data.observation, data.action, data.resets)
        )
        out = Targets(observation, action, target, data.weight, data.memory, resets)
        return Step(agent, state, out)

    def _values(
        self, agent: Any, target_agent: Any, data: Transitions, bootstraps: "Bootstrap", key: Key
    ) -> Float[Array, "..."]:
        values = bootstrap_outputs(self.name, target_agent, data, bootstraps, key).q_values
        if not self.double:
            return values.max(axis=-1)
        online = bootstrap_outputs(self.name, agent, data, bootstraps, agent_key(key))
        best = online.q_values.argmax(axis=-1)
        return jnp.take_along_axis(values, best[..., None], axis=-1)[..., 0]


def bootstrap_outputs(
    where: str, agent: Any, data: Transitions, bootstraps: "Bootstrap", key: Key
) -> Any:
    """The outputs of a Q-network at the observations that targets are bootstrapped from.

    **Raises:** `WiringError` if the agent is no Q-network.
    """
    check_agent_family(where, agent, QNetwork)
    axes = bootstraps.discount.shape
    if has_memory(agent):
        check_has_memory(f"{where}: data", data.memory)

        def ahead(window: Transitions, place: Int[Array, " starts"], key: Key) -> Any:
            seen = window.observation, window.resets, window.next_observation
            outputs = next_outputs(agent, window.memory, *seen, key)
            return jax.tree.map(lambda x: x[place], outputs)

        outputs = jax.vmap(ahead)(data, bootstraps.place, split_keys(key, axes[:1]))
    else:
        outputs = unroll_batch(where, agent, None, bootstraps.observation, None, axes, key)
    check_q_values(where, outputs, axes)
    return outputs


@final
class Bootstrap(eqx.Module):
    """For each step of a trajectory that `n` follow, or an end: the discounted rewards, and
    the observation whose value is added to them with `discount`, 0 where terminated; and which
    step of the trajectory led to it.
    """

    reward: Float[Array, "*starts"]
    discount: Float[Array, "*starts"]
    observation: Tree
    place: Int[Array, "*starts"]

    def target(self, values: Float[Array, "*starts"]) -> Float[Array, "*starts"]:
        """The rewards and the discounted `values` of the observations."""
        # Selected, not multiplied by 0: what a terminal observation is worth may be anything.
        return self.reward + jnp.where(self.discount == 0.0, 0.0, self.discount * values)


def bootstrap_each(where: str, data: Transitions, n: int, discount: Fraction) -> Bootstrap:
    """[`bootstrap`][lerax_fx.targets.td_target.bootstrap], for each of a batch of windows."""
    return jax.vmap(lambda window: bootstrap(where, window, n, discount))(data)


def bootstrap(where: str, window: Transitions, n: int, discount: Fraction) -> Bootstrap:
    """Sutton & Barto 2018, eq. 7.1, for one trajectory, cut where an episode ends; over
    `Timed` observations, each step is discounted by its own `discount ** dt`.

    **Raises:** `WiringError`, in the name of the stage `where`, for fewer steps than `n`.
    """
    starts = window.reward.shape[0] - n + 1
    if starts < 1:
        raise WiringError(
            explain(
                f"{where}: n",
                wanted=f"windows of at least {n} steps",
                got=f"{window.reward.shape[0]}",
                fix=f"Draw longer ones: fx.replay(..., length={n}).",
            )
        )

    def one(start: Any) -> Bootstrap:
        piece = jax.tree.map(
            lambda x: jax.lax.dynamic_slice_in_dim(x, start, n),
            (window.reward, window.terminated, window.done, durations(window)),
        )
        reward, terminated, done, dt = piece
        # Whether a step belongs to the episode that the first one belongs to.
        within = jnp.cumsum(done) - done == 0
        last = within.sum() - 1
        began = jnp.arange(n) if dt is None else jnp.cumsum(dt) - dt
        powers = jnp.asarray(discount) ** began
        total = jnp.sum(jnp.where(within, powers * reward, 0.0))
        last_step = discount if dt is None else jnp.asarray(discount) ** dt[last]
        onwards = jnp.where(terminated[last], 0.0, powers[last] * last_step)
        observation = jax.tree.map(lambda x: x[start + last], window.next_observation)
        return Bootstrap(total, onwards, observation, start + last)

    return jax.vmap(one)(jnp.arange(starts))


@known_names
def td_target(
    *,
    discount: Fraction = 0.99,
    n: int = 1,
    double: bool = False,
    update: AbstractTargetUpdate | None = None,
) -> TDTarget:
    """Targets for the values of the actions that were taken, from a target network.

        target = r_1 + discount r_2 + ... + discount^(n-1) r_n + discount^n max_a Q'(o_n, a)

    Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1.
    A sum ends where its episode ends; then `Q'` is of the observation before the reset, if
    the episode was truncated, and left out if it terminated. An agent with memory remembers
    the window up to there, from the memory it had at its start.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.Timed], one unit of time later: `discount ** dt` for a step.
    - `n`: how many rewards. Windows of `L` steps give targets for their first `L - n + 1`.
    - `double`: the agent picks the action that the target network values: van Hasselt et al.
      2016, "Deep Reinforcement Learning with Double Q-learning", eq. 4.
    - `update`: [`periodic`][lerax_fx.periodic] or [`polyak`][lerax_fx.polyak]; by default
      the target network is the agent as it is at each update.

    **Raises:** `HyperparameterError` for a discount outside [0, 1] or an `n` below 1;
    `WiringError`, when traced, for windows shorter than `n`, or an agent without action
    values.
    """
    return TDTarget(
        check_number("td_target: discount", discount, Interval(0.0, 1.0), schedule=True),
        check_count("td_target: n", n),
        check_flag("td_target: double", double),
        checked_update("td_target: update", update),
    )
