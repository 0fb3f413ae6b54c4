"""SAC's bootstrap targets."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count, check_number
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.packed import with_part
from lerax_fx.data.targets import Targets
from lerax_fx.data.transitions import Transitions
from lerax_fx.losses.soft_policy import check_soft_agent, soft_value
from lerax_fx.targets.bootstrapped import bootstrapped
from lerax_fx.targets.network import AbstractTargetUpdate, checked_update
from lerax_fx.targets.td_target import TargetState, follow_agent, start_following
from lerax_fx.types import Fraction, Interval, Key, Scalar, Tree


@final
class SoftTarget(Transform[Transitions, Targets]):
    """See [`soft_target`][lerax_fx.soft_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    follow: AbstractTargetUpdate

    def init(self, agent: Any, data: Shapes, key: Key) -> TargetState:
        del data, key
        check_soft_agent("soft_target", agent)
        return start_following(agent.critic)

    def update(self, agent: Any, state: TargetState, data: Transitions, key: Key) -> Step[Targets]:
        critic, state = follow_agent(self.follow, agent.critic, state)
        critic = with_part(agent, lambda agent: agent.critic, critic)
        family = check_soft_agent("soft_target", agent)

        def value(observation: Tree, key: Key) -> Scalar:
            least, entropy = soft_value(family, agent, critic, observation, key)
            return least + jnp.exp(agent.log_temperature) * entropy

        out = bootstrapped(self.name, data, value, key, n=self.n, discount=self.discount)
        return Step(agent, state, out)


@known_names
def soft_target(
    *, discount: Fraction = 0.99, n: int = 1, update: AbstractTargetUpdate | None = None
) -> SoftTarget:
    """SAC's bootstrap targets for the Q-values of the actions taken: the smallest of the target
    critics' values, and the policy's entropy times the temperature.

        target = r_1 + ... + discount^(n-1) r_n
               + discount^n (min_i Q'_i(o_n, a) - temperature log pi(a | o_n)),  a ~ pi(o_n)

    Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905),
    eq. 5, with the least of the critics as in its section 6. Of the steps between the first
    and the last, if `n` is more than 1, entropy is not counted. A sum ends where its episode
    ends; then `Q'` is of the observation before the reset, if the episode was truncated, and
    left out, with the entropy, if it terminated. For discrete actions the mean over
    the policy takes the place of the draw: Christodoulou 2019, "Soft Actor-Critic for Discrete
    Action Settings", eq. 8.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1].
    - `n`: how many rewards. Windows of `L` steps give targets for their first `L - n + 1`.
    - `update`: [`periodic`][lerax_fx.periodic] or [`polyak`][lerax_fx.polyak]; by default
      the target critics are the agent's as they are at each update.

    **Raises:** `HyperparameterError` for a discount outside [0, 1] or an `n` below 1;
    `WiringError`, when traced, for windows shorter than `n`, or an agent without critics or
    a temperature.
    """
    return SoftTarget(
        check_number("soft_target: discount", discount, Interval(0.0, 1.0), schedule=True),
        check_count("soft_target: n", n),
        checked_update("soft_target: update", update),
    )
