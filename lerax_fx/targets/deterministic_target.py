"""Targets for critics of a deterministic policy."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count, check_number
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.policies.deterministic import DeterministicAction
from lerax_fx.agents.protocols import ContinuousQ, check_agent_family
from lerax_fx.agents.unroll import agent_key
from lerax_fx.data.targets import Targets
from lerax_fx.data.transitions import Transitions
from lerax_fx.errors import WiringError, explain
from lerax_fx.targets.bootstrapped import bootstrapped
from lerax_fx.targets.network import AbstractTargetUpdate, checked_update
from lerax_fx.targets.td_target import TargetState, follow_agent, start_following
from lerax_fx.types import Fraction, Interval, Key, NonNegative, Positive, Scalar, Tree


@final
class DeterministicTarget(Transform[Transitions, Targets]):
    """See [`deterministic_target`][lerax_fx.deterministic_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    noise: NonNegative | None
    clip: Positive
    follow: AbstractTargetUpdate

    def init(self, agent: Tree, data: Shapes, key: Key) -> TargetState:
        del data, key
        check_agent_family("deterministic_target", agent, ContinuousQ)
        return start_following(agent)

    def update(self, agent: Tree, state: TargetState, data: Transitions, key: Key) -> Step[Targets]:
        target_agent, state = follow_agent(self.follow, agent, state)

        def value(observation: Tree, key: Key) -> Scalar:
            return self._value(target_agent, observation, key)

        out = bootstrapped(self.name, data, value, key, n=self.n, discount=self.discount)
        return Step(agent, state, out)

    def _value(self, target_agent: Any, observation: Tree, key: Key) -> Scalar:
        """The smallest of the target critics' values of the target actor's action."""
        distribution = target_agent.policy(observation, agent_key(key))
        action = self._smoothed(_deterministic(distribution), key)
        return target_agent.q_values(observation, action, agent_key(key, 1)).min()

    def _smoothed(self, distribution: DeterministicAction, key: Key) -> Float[Array, "..."]:
        action, bounds = distribution.mode(), distribution.bounds
        if self.noise is None:
            return action
        noise = self.noise * jax.random.normal(key, bounds.shape)
        clip = jnp.asarray(self.clip)
        return bounds.clipped(action + bounds.half_width * jnp.clip(noise, -clip, clip))


def _deterministic(distribution: Any) -> DeterministicAction:
    if isinstance(distribution, DeterministicAction):
        return distribution
    raise WiringError(
        explain(
            "deterministic_target: agent",
            wanted="an agent whose policy is deterministic",
            got=f"one whose policy is a {type(distribution).__name__}",
            fix="Make the agent with fx.deterministic_actor_critic(env, key=key).",
        )
    )


@known_names
def deterministic_target(
    *,
    discount: Fraction = 0.99,
    n: int = 1,
    noise: NonNegative | None = None,
    clip: Positive = 0.5,
    update: AbstractTargetUpdate | None = None,
) -> DeterministicTarget:
    """Targets for the values of the actions that were taken, from target networks of the
    actor and the critics.

        target = r_1 + ... + discount^(n-1) r_n + discount^n min_i Q'_i(o_n, mu'(o_n))

    Lillicrap et al. 2016, "Continuous control with deep reinforcement learning", algorithm
    1. With `noise`, and an agent with two critics, the targets of Fujimoto et al. 2018,
    "Addressing Function Approximation Error in Actor-Critic Methods", algorithm 1. A sum
    ends where its episode ends; then `Q'` is of the observation before the reset, if the
    episode was truncated, and left out if it terminated.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1].
    - `n`: how many rewards. Windows of `L` steps give targets for their first `L - n + 1`.
    - `noise`: target policy smoothing: the standard deviation of the Gaussian noise on the
      target actor's actions, in units of half the width between their bounds, which they
      do not leave; `None` for none.
    - `clip`: how large that noise is at most, in the same units.
    - `update`: [`periodic`][lerax_fx.periodic] or [`polyak`][lerax_fx.polyak]; by default
      the target networks are the agent as it is at each update.

    **Raises:** `HyperparameterError` for a number outside; `WiringError`, when traced, for
    windows shorter than `n`, or an agent without critics or with a stochastic policy.
    """
    where = "deterministic_target"
    return DeterministicTarget(
        check_number(f"{where}: discount", discount, Interval(0.0, 1.0), schedule=True),
        check_count(f"{where}: n", n),
        None
        if noise is None
        else check_number(f"{where}: noise", noise, Interval(0.0), schedule=True),
        check_number(f"{where}: clip", clip, Interval(0.0, open_low=True), schedule=True),
        checked_update(f"{where}: update", update),
    )
