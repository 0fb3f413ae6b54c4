"""Planning on a learnt model: the cross-entropy method, and agents that act by it."""

import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_count, check_flag, check_number, suggest_keywords
from lerax_fx.agents.encoding import hidden_sizes
from lerax_fx.agents.networks import MLP, Activation
from lerax_fx.agents.policies import DeterministicAction, action_bounds
from lerax_fx.agents.protocols import AbstractActorCritic, Output
from lerax_fx.envs.registry import spaces_of
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.nde.dynamics import Dynamics, RewardFunction
from lerax_fx.nde.observations import box_scaling, split_time, value_space
from lerax_fx.nde.solvers import method
from lerax_fx.typing import Interval, Key, Scalar, Tree


@final
class Gaussian(eqx.Module):
    """A diagonal Gaussian: the search distribution of the cross-entropy method.

    - `mean`, `std`: of each number of the point.
    """

    mean: Float[Array, "*shape"]
    std: Float[Array, "*shape"]


@suggest_keywords
def cem(
    score: Callable[[Array], Scalar],
    start: Gaussian,
    *,
    key: Key,
    low: Any = -jnp.inf,
    high: Any = jnp.inf,
    num_samples: int = 64,
    num_elites: int = 8,
    num_iterations: int = 3,
) -> Gaussian:
    """The cross-entropy method: sample from a Gaussian, fit it to the samples of the highest score,
    repeat.

        found = cem(lambda x: -jnp.sum((x - 1) ** 2), Gaussian(zeros, ones), key=key)

    Rubinstein 1999, "The Cross-Entropy Method for Combinatorial and Continuous
    Optimization". As in Pinneri et al. 2020, "Sample-efficient Cross-Entropy Method for
    Real-time Planning", section 3, the mean and the best point so far compete with what is
    drawn, so that an iteration that draws nothing better loses nothing.

    **Arguments:**

    - `score`: of one point: the higher, the better. It need not be smooth. What is NaN
      counts as the worst of all.
    - `start`: where to look first. The deviation shrinks as the search goes, so it has to be
      wide enough for what is looked for.
    - `low`, `high`: bounds of the points, which broadcast to their shape. What is drawn
      beyond them is brought to them.
    - `num_samples`: how many points are drawn in each iteration.
    - `num_elites`: how many of the best the Gaussian is fitted to.
    - `num_iterations`: how many iterations.

    **Returns:** the last Gaussian. Its mean is the point that was found.

    **Raises:** `HyperparameterError` for a count below 1, more elites than samples, or a `low`
    above `high`, if they are known while tracing.
    """
    check_search("cem", num_samples, num_elites, num_iterations)
    _check_bounds(low, high)

    def draw(around: Gaussian, key: Key) -> Array:
        noise = jax.random.normal(key, (num_samples, *around.mean.shape), around.mean.dtype)
        return jnp.clip(around.mean + around.std * noise, low, high)

    def refine(carry: tuple[Gaussian, Array], key: Key) -> tuple[tuple[Gaussian, Array], None]:
        around, kept = carry
        points = jnp.concatenate([kept, draw(around, key)])
        scores = jax.vmap(score)(points)
        best = jax.lax.top_k(jnp.where(jnp.isnan(scores), -jnp.inf, scores), num_elites)[1]
        elites = points[best]
        around = Gaussian(elites.mean(0), elites.std(0))
        return (around, jnp.stack([around.mean, elites[0]])), None

    mean = jnp.clip(start.mean, low, high)
    keys = jax.random.split(key, num_iterations)
    # At first the same point twice: the carry of a scan keeps its shape.
    (found, _), _ = jax.lax.scan(refine, (start, jnp.stack([mean, mean])), keys)
    return found


def _check_bounds(low: Any, high: Any) -> None:
    if isinstance(low, Tracer) or isinstance(high, Tracer) or np.all(np.less_equal(low, high)):
        return
    raise HyperparameterError(
        format_error("cem: low", wanted=f"at most high, {high}", got=f"{low}", fix="Swap the two.")
    )


def check_search(where: str, num_samples: int, num_elites: int, num_iterations: int) -> None:
    """**Raises:** `HyperparameterError` for a count below 1, or more elites than samples."""
    check_count(f"{where}: num_iterations", num_iterations)
    check_count(f"{where}: num_samples", num_samples)
    if check_count(f"{where}: num_elites", num_elites) > num_samples:
        raise HyperparameterError(
            format_error(
                f"{where}: num_elites",
                wanted=f"at most num_samples, {num_samples}",
                got=f"{num_elites}",
                fix="Lower num_elites, or raise num_samples.",
            )
        )


@final
class Plan(eqx.Module):
    """The memory of a planning agent.

    - `actions`: the planned actions from the next step on, in `[-1, 1]` between their bounds.
    """

    actions: Float[Array, "horizon size"]


@final
class Planner(eqx.Module):
    """The options of a planner; all of it is structure.

    - `horizon`: how many actions ahead.
    - `num_samples`, `num_elites`, `num_iterations`: of the search, [`cem`][lerax_fx.planning.cem].
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
    """Model-predictive control: at each step, search for the actions of the highest predicted
    return, and take the first of them.

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


# A model that begins with little change and little reward says nothing that it does not know.
_LAST_GAIN = 0.1


@suggest_keywords
def planning_agent(
    env: Any,
    *,
    key: Key,
    width: int = 32,
    depth: int = 2,
    activation: Activation = "tanh",
    latent: int | None = None,
    reward: RewardFunction | None = None,
    termination: bool = False,
    horizon: int = 20,
    num_samples: int = 64,
    num_elites: int = 8,
    num_iterations: int = 3,
    discount: float = 0.99,
    dt: float = 1.0,
    solver: Any = "heun",
    steps: int = 1,
) -> PlanningAgent:
    """A model-predictive control agent, with a neural ODE of multilayer perceptrons as its model.

    [`dynamics_loss`][lerax_fx.losses.dynamics_loss] trains the model. The policy is deterministic,
    so explore by [`gaussian_noise`][lerax_fx.gaussian_noise].

    **Arguments:**

    - `env`: an [`Env`][lerax_fx.Env] or whatever [`make`][lerax_fx.make] takes; or a pair
      `(observation_space, action_space)`.
    - `width`, `depth`, `activation`: of each network. With `"tanh"` velocities are bounded,
      so that no predicted state explodes.
    - `latent`: the size of a latent state; by default the observation is the state.
    - `reward`: the reward of a step where it is known, `(observation, action,
      next_observation) -> reward`; by default it is learnt.
    - `termination`: whether ends of episodes are learnt. If not, plans go on as if there were
      none, which is right where only a time limit ends an episode.
    - `horizon`: how many actions a plan has.
    - `num_samples`, `num_elites`, `num_iterations`: of the search, [`cem`][lerax_fx.planning.cem].
    - `discount`: of a predicted reward one unit of time later, in [0, 1].
    - `dt`: how long each action of a plan holds, in units of time; above 0.
    - `solver`, `steps`: how the model is solved over each action, as for
      [`nde_solve`][lerax_fx.nde.nde_solve].

    **Raises:** `WiringError` if actions are not a `Box` of floats with finite bounds, or
    observations not a `Box` of floats; `HyperparameterError` for a count below 1, more
    elites than samples, a `reward` that is no function, a discount outside [0, 1], or a `dt`
    that is not above 0.
    """
    where = "planning_agent"
    observations, actions = spaces_of(env)
    bounds, scaling = action_bounds(where, actions), box_scaling(where, value_space(observations))
    check_search(where, num_samples, num_elites, num_iterations)
    if reward is not None and not callable(reward):
        raise HyperparameterError(
            format_error(
                f"{where}: reward",
                wanted="a function (observation, action, next_observation) -> reward, or None",
                got=f"{reward!r}",
                fix="Pass the function itself, or None to learn rewards.",
            )
        )
    planner = Planner(
        check_count(f"{where}: horizon", horizon),
        num_samples,
        num_elites,
        num_iterations,
        _structural(f"{where}: discount", discount, Interval(0.0, 1.0)),
        _structural(f"{where}: dt", dt, Interval(0.0, open_low=True)),
    )
    hidden = hidden_sizes(where, width, depth, at_least=1)
    state = scaling.size if latent is None else check_count(f"{where}: latent", latent)
    keys = jax.random.split(key, 5)

    def network(key: Key, inputs: int, outputs: int, gain: float = 1.0) -> MLP:
        sizes = (inputs, *hidden, outputs)
        return MLP(sizes, key=key, activation=activation, last_gain=gain)

    driven = state + bounds.size
    model = Dynamics(
        scaling,
        bounds,
        network(keys[0], driven, state, _LAST_GAIN),
        network(keys[1], driven, 1, _LAST_GAIN) if reward is None else None,
        network(keys[2], driven, 1) if check_flag(f"{where}: termination", termination) else None,
        None if latent is None else network(keys[3], scaling.size, state),
        None if latent is None else network(keys[4], state, scaling.size),
        reward,
        method(where, solver=solver, steps=steps),
    )
    return PlanningAgent(model, planner)


def _structural(where: str, value: Any, interval: Interval) -> float:
    """A number that is part of the agent's structure, which no optimiser changes."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(check_number(where, value, interval))
    raise HyperparameterError(
        format_error(
            where,
            wanted="a finite Python number: how an agent plans is structure",
            got=f"{value!r}",
            fix="Pass a float, and make an agent for each value instead of vmapping over it.",
        )
    )


__all__ = [
    "Gaussian",
    "Plan",
    "Planner",
    "PlanningAgent",
    "cem",
    "planning_agent",
]
