"""Targets for action values, by temporal differences."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.action_values import action_values
from lerax_fx.core.arguments import known_names
from lerax_fx.core.bounds import Fraction, Interval, check_count, check_number
from lerax_fx.core.transform import Step, Transform
from lerax_fx.data.targets import Targets
from lerax_fx.data.transitions import Transitions
from lerax_fx.errors import WiringError, explain
from lerax_fx.targets.network import AbstractTargetUpdate, Periodic
from lerax_fx.types import Count, Key, Tree


@final
class TargetState(eqx.Module):
    """`network`: the arrays of the target network; `updates`: how many there were."""

    network: Tree
    updates: Count


@final
class TDTarget(Transform[Transitions, Targets]):
    """See [`td_target`][lerax_fx.td_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    double: bool = eqx.field(static=True)
    follow: AbstractTargetUpdate

    @property
    def name(self) -> str:
        return "td_target"

    @property
    def draws(self) -> int:
        return 0

    def init(self, agent: Tree, key: Key) -> TargetState:
        del key
        return TargetState(eqx.filter(agent, eqx.is_array), jnp.zeros((), jnp.int32))

    def update(self, agent: Tree, state: TargetState, data: Transitions, key: Key) -> Step[Targets]:
        del key
        online, fixed = eqx.partition(agent, eqx.is_array)
        network = self.follow(online, state.network, state.updates)
        target_agent = eqx.combine(network, fixed)
        bootstraps = jax.vmap(lambda window: bootstrap(window, self.n, self.discount))(data)
        values = self._values(agent, target_agent, bootstraps.observation)
        target = bootstraps.reward + bootstraps.discount * values
        starts = target.shape[1]
        observation, action = jax.tree.map(lambda x: x[:, :starts], (data.observation, data.action))
        out = Targets(observation, action, jax.lax.stop_gradient(target))
        return Step(agent, TargetState(network, state.updates + 1), out)

    def _values(self, agent: Any, target_agent: Any, observation: Tree) -> Float[Array, "..."]:
        values = action_values("td_target", target_agent, observation, 2)
        if not self.double:
            return values.max(axis=-1)
        best = action_values("td_target", agent, observation, 2).argmax(axis=-1)
        return jnp.take_along_axis(values, best[..., None], axis=-1)[..., 0]


@final
class Bootstrap(eqx.Module):
    """For each step of a trajectory that `n` follow, or an end: the discounted rewards, and
    the observation whose value is added to them with `discount`: 0 where terminated.
    """

    reward: Float[Array, "*starts"]
    discount: Float[Array, "*starts"]
    observation: Tree


def bootstrap(
    window: Transitions, n: int, discount: Fraction, where: str = "td_target"
) -> Bootstrap:
    """Sutton & Barto 2018, eq. 7.1, for one trajectory, cut where an episode ends.

    **Raises:** `WiringError`, of the stage `where`, for a trajectory shorter than `n`.
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
            (window.reward, window.terminated, window.done),
        )
        reward, terminated, done = piece
        # Whether a step belongs to the episode that the first one belongs to.
        within = jnp.cumsum(done) - done == 0
        last = within.sum() - 1
        powers = jnp.asarray(discount) ** jnp.arange(n)
        total = jnp.sum(jnp.where(within, powers * reward, 0.0))
        onwards = jnp.where(terminated[last], 0.0, powers[last] * discount)
        observation = jax.tree.map(lambda x: x[start + last], window.next_observation)
        return Bootstrap(total, onwards, observation)

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
    the episode was truncated, and left out if it terminated.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1].
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
        check_number("td_target: discount", discount, Interval(0.0, 1.0)),
        check_count("td_target: n", n),
        double,
        Periodic(1) if update is None else update,
    )
