"""Targets for distributions of the return, by temporal differences."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count, check_flag, check_number
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.protocols import DistributionalQNetwork, check_output
from lerax_fx.agents.returns import returns_of_action
from lerax_fx.agents.unroll import agent_key
from lerax_fx.data.distribution_targets import DistributionTargets
from lerax_fx.data.transitions import Transitions
from lerax_fx.targets.network import AbstractTargetUpdate, checked_update
from lerax_fx.targets.td_target import (
    Bootstrap,
    TargetState,
    bootstrap_each,
    bootstrap_outputs,
    follow_agent,
    start_following,
)
from lerax_fx.types import Fraction, Interval, Key, Tree


@final
class DistributionalTDTarget(Transform[Transitions, DistributionTargets]):
    """See [`distributional_td_target`][lerax_fx.distributional_td_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    double: bool = eqx.field(static=True)
    follow: AbstractTargetUpdate

    def init(self, agent: Tree, data: Shapes, key: Key) -> TargetState:
        del data, key
        return start_following(agent)

    def update(
        self, agent: Tree, state: TargetState, data: Transitions, key: Key
    ) -> Step[DistributionTargets]:
        target_agent, state = follow_agent(self.follow, agent, state)
        bootstraps = bootstrap_each(self.name, data, self.n, self.discount)
        returns = self._returns(agent, target_agent, data, bootstraps, key)
        reward, discount = bootstraps.reward[..., None], bootstraps.discount[..., None]
        # Selected, not multiplied by 0: what a terminal observation is worth may be anything.
        atoms = reward + jnp.where(discount == 0.0, 0.0, discount * returns.atoms)
        starts = atoms.shape[1]
        observation, action, resets = jax.tree.map(
            lambda x: x[:, :starts], (data.observation, data.action, data.resets)
        )
        out = DistributionTargets(
            observation, action, atoms, returns.probabilities, data.weight, data.memory, resets
        )
        return Step(agent, state, out)

    def _returns(
        self, agent: Any, target_agent: Any, data: Transitions, bootstraps: Bootstrap, key: Key
    ) -> Any:
        """Those of the best action."""
        outputs = bootstrap_outputs(self.name, target_agent, data, bootstraps, key)
        check_output(self.name, outputs, DistributionalQNetwork)
        q_values = outputs.q_values
        if self.double:
            online = bootstrap_outputs(self.name, agent, data, bootstraps, agent_key(key))
            q_values = online.q_values
        return returns_of_action(outputs.return_distribution, jnp.argmax(q_values, axis=-1))


@known_names
def distributional_td_target(
    *,
    discount: Fraction = 0.99,
    n: int = 1,
    double: bool = False,
    update: AbstractTargetUpdate | None = None,
) -> DistributionalTDTarget:
    """Targets for the returns of the actions that were taken, from a target network: the
    distribution of

        r_1 + discount r_2 + ... + discount^(n-1) r_n + discount^n Z'(o_n, argmax_a mean Z'(o_n, a))

    where `Z'` is the return that the target network expects: its atoms are shifted and
    scaled, their probabilities stay. Bellemare et al. 2017, "A Distributional Perspective on
    Reinforcement Learning", algorithm 1 (before the projection, which belongs to the loss);
    Dabney et al. 2018, "Distributional Reinforcement Learning with Quantile Regression",
    algorithm 1. An episode's end does what it does in [`td_target`][lerax_fx.td_target]:
    after a termination all atoms are the sum of the rewards.

    **Arguments:** `discount`, `n`, `update`: as for `td_target`.

    - `double`: the agent picks the action whose return the target network gives.

    **Raises:** as `td_target` does, and `WiringError`, when traced, for an agent without
    distributions of the return.
    """
    return DistributionalTDTarget(
        check_number(
            "distributional_td_target: discount", discount, Interval(0.0, 1.0), schedule=True
        ),
        check_count("distributional_td_target: n", n),
        check_flag("distributional_td_target: double", double),
        checked_update("distributional_td_target: update", update),
    )
