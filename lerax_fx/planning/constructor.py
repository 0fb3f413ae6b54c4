"""Agents that plan, for an environment."""

import math
from typing import Any

import jax

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count, check_flag, check_number
from lerax_fx.agents.activation import Activation
from lerax_fx.agents.constructors.networks import hidden_sizes
from lerax_fx.agents.mlp import MLP
from lerax_fx.agents.policies.action_bounds import action_bounds
from lerax_fx.environments.spaces_of import spaces_of
from lerax_fx.errors import HyperparameterError, explain
from lerax_fx.nde.dynamics import Dynamics, RewardFunction
from lerax_fx.nde.method import method
from lerax_fx.nde.scaling import box_scaling
from lerax_fx.nde.split_time import value_space
from lerax_fx.planning.agent import Planner, PlanningAgent
from lerax_fx.planning.cem import check_search
from lerax_fx.types import Interval, Key

# A model that begins with little change and little reward says nothing that it does not know.
_LAST_GAIN = 0.1


@known_names
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
    """A model in continuous time, of multilayer perceptrons, and planning on it.

    [`dynamics_loss`][lerax_fx.dynamics_loss] teaches it. The action is a sure one, so explore
    by [`gaussian_noise`][lerax_fx.gaussian_noise].

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
    - `num_samples`, `num_elites`, `num_iterations`: of the search, [`cem`][lerax_fx.cem].
    - `discount`: of a predicted reward one unit of time later, in [0, 1].
    - `dt`: how long each action of a plan holds, in units of time; above 0.
    - `solver`, `steps`: how the model is solved over each action, as for
      [`nde_solve`][lerax_fx.nde_solve].

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
            explain(
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
    """A number that is part of an agent's structure, which an optimiser must not move."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(check_number(where, value, interval))
    raise HyperparameterError(
        explain(
            where,
            wanted="a finite Python number: how an agent plans is structure",
            got=f"{value!r}",
            fix="Pass a float, and make an agent for each value instead of vmapping over it.",
        )
    )
