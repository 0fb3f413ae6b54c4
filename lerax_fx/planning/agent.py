"""Agents that plan on a model."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.deterministic import DeterministicAction
from lerax_fx.nde.dynamics import Dynamics
from lerax_fx.nde.split_time import split_time
from lerax_fx.planning.cem import Gaussian, cem
from lerax_fx.types import Key, Scalar, Tree


@final
class Plan(eqx.Module):
    """The memory of a planning agent.

    - `actions`: the planned actions from the next step on, in `[-1, 1]` between their bounds.
    """

    actions: Float[Array, "horizon size"]


@final
class Planner(eqx.Module):
    """How to plan; all of it is structure, no optimiser moves it.

    - `horizon`: how many actions ahead.
    - `num_samples`, `num_elites`, `num_iterations`: of the search, [`cem`][lerax_fx.cem].
    - `discount`: of a reward one unit of time later.
    - `dt`: how long each action holds.
    """

    horizon: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    num_elites: int = eqx.field(static=True)
    num_iterations: int = eqx.field(static=True)
    discount: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)


@final
class PlanningAgent(AbstractActorCritic):
    """Model-predictive control: at each step, the actions of the highest return that the model
    predicts are searched for, and the first of them is taken.

    Its memory is the plan that is left, from which the next search starts. The value of an
    observation is the plan's predicted return, up to the horizon.

    - `model`: of the environment.
    - `planner`: how the search goes.
    """

    model: Dynamics
    planner: Planner

    def initial_memory(self) -> Plan:
        return Plan(jnp.zeros((self.planner.horizon, self.model.actions.size)))

    def step(self, memory: Plan, observation: Tree, key: Key) -> tuple[Plan, Output]:
        state = self.model.encode(split_time(observation)[0])

        def score(actions: Array) -> Scalar:
            return self.predicted_return(state, actions)

        found = cem(
            score,
            Gaussian(memory.actions, jnp.ones_like(memory.actions)),
            key=key,
            low=-1.0,
            high=1.0,
            num_samples=self.planner.num_samples,
            num_elites=self.planner.num_elites,
            num_iterations=self.planner.num_iterations,
        ).mean
        action = self._action(found[0])
        left = jnp.concatenate([found[1:], found[-1:]])
        return Plan(left), Output(DeterministicAction(action, self.model.actions), score(found))

    def predicted_return(
        self, state: Float[Array, " state"], actions: Float[Array, "horizon size"]
    ) -> Scalar:
        """The discounted sum of the rewards that the model predicts for a plan, each weighted
        with the probability that the episode is not over by then. Minus infinity where the
        model's equation cannot be solved.
        """
        discount = self.planner.discount**self.planner.dt

        def one_step(carry: tuple[Array, Array, Array], unit: Array) -> tuple[Any, None]:
            state, weight, total = carry
            step = self.model.step(state, self._action(unit), self.planner.dt)
            goes_on = jax.nn.sigmoid(-step.termination)
            total += jnp.where(step.failed, -jnp.inf, weight * step.reward)
            return (step.state, weight * discount * goes_on, total), None

        start = state, jnp.ones(()), jnp.zeros(())
        (_, _, total), _ = jax.lax.scan(one_step, start, actions)
        return total

    def _action(self, unit: Float[Array, " size"]) -> Float[Array, "..."]:
        bounds = self.model.actions
        return bounds.scaled(unit.reshape(bounds.shape))
