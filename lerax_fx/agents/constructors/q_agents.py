"""Agents that value each of a few actions, as DQN and its family train them."""

import math
from collections.abc import Sequence
from typing import Any

import jax

from lerax_fx._core.bounds import check_count, check_counts, check_flag
from lerax_fx.agents.activation import Activation
from lerax_fx.agents.constructors.networks import network_for, torso_for
from lerax_fx.agents.distributional_q_agent import DistributionalQAgent
from lerax_fx.agents.linear import Linear, orthogonal
from lerax_fx.agents.q_agent import QAgent
from lerax_fx.agents.recurrent import GRU
from lerax_fx.agents.recurrent_q_agent import RecurrentQAgent
from lerax_fx.environments.spaces import Discrete, Space
from lerax_fx.environments.spaces_of import spaces_of
from lerax_fx.errors import HyperparameterError, WiringError, explain
from lerax_fx.types import Key


def q_agent(
    env: Any,
    *,
    key: Key,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
    dueling: bool = False,
    layer_norm: bool = False,
) -> QAgent:
    """A multilayer perceptron that gives each action's value; for images, behind a
    convolution as in [`cnn_actor_critic`][lerax_fx.cnn_actor_critic].

    With the defaults, the network of CleanRL's and PureJaxRL's DQN.

    **Arguments:**

    - `env`, `activation`: as in [`mlp_actor_critic`][lerax_fx.mlp_actor_critic].
    - `widths`: of the hidden layers.
    - `dueling`: whether value and advantages are told apart (Wang et al. 2016).
    - `layer_norm`: whether hidden layers are normalised before they are activated, which
      lets values be learnt without a target network (Gallici et al. 2024).

    **Raises:** `WiringError` if actions are not `Discrete`, or for observations that it has
    no network for; `HyperparameterError` for an unknown activation or a size below 1.
    """
    where = "q_agent"
    observations, actions = spaces_of(env)
    num_actions = _num_actions(where, actions)
    dueling = check_flag(f"{where}: dueling", dueling)
    layer_norm = check_flag(f"{where}: layer_norm", layer_norm)
    sizes = (*check_counts(f"{where}: widths", widths), num_actions + dueling)
    encoding, network = network_for(
        where, observations, sizes, activation, key, layer_norm=layer_norm
    )
    return QAgent(encoding, network, num_actions, dueling)


def gru_q_agent(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    activation: Activation = "relu",
) -> RecurrentQAgent:
    """An encoder, a gated recurrent unit, and each action's value, linear in its memory: the
    recurrent Q-network of Hausknecht & Stone 2015, "Deep Recurrent Q-Learning for Partially
    Observable MDPs".

    **Arguments:** as in [`gru_actor_critic`][lerax_fx.gru_actor_critic].

    **Raises:** as [`q_agent`][lerax_fx.q_agent] does.
    """
    where = "gru_q_agent"
    observations, actions = spaces_of(env)
    num_actions = _num_actions(where, actions)
    torso_key, gru_key, head_key = jax.random.split(key, 3)
    encoding, torso = torso_for(where, observations, width, depth, activation, torso_key)
    head = Linear(orthogonal(head_key, width, num_actions, 1.0))
    return RecurrentQAgent(encoding, torso, GRU(width, width, key=gru_key), head, num_actions)


def categorical_q_agent(
    env: Any,
    *,
    key: Key,
    num_atoms: int = 51,
    low: float = -10.0,
    high: float = 10.0,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
) -> DistributionalQAgent:
    """As [`q_agent`][lerax_fx.q_agent], with a distribution of each action's return over fixed
    atoms: Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning",
    section 4.

    **Arguments:**

    - `num_atoms`: how many, evenly spaced; at least 2. By default, atoms are the paper's.
    - `low`, `high`: the lowest and the highest discounted return that can be told.
    - `env`, `widths`, `activation`: as for `q_agent`.

    **Raises:** as `q_agent` does, and `HyperparameterError` if `low` is not below `high`.
    """
    where = "categorical_q_agent"
    num_atoms = check_count(f"{where}: num_atoms", num_atoms, at_least=2)
    if not -math.inf < low < high < math.inf:
        raise HyperparameterError(
            explain(
                f"{where}: low",
                wanted="a finite number below high",
                got=f"low={low}, high={high}",
                fix="Bound the discounted return: the largest reward / (1 - discount) does.",
            )
        )
    support = float(low), float(high)
    return _distributional(where, env, key, num_atoms, support, widths, activation)


def quantile_q_agent(
    env: Any,
    *,
    key: Key,
    num_quantiles: int = 200,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
) -> DistributionalQAgent:
    """As [`q_agent`][lerax_fx.q_agent], with quantiles of each action's return: Dabney et al.
    2018, "Distributional Reinforcement Learning with Quantile Regression".

    **Arguments:**

    - `num_quantiles`: how many, each of the same probability; by default, the paper's.
    - `env`, `widths`, `activation`: as for `q_agent`.

    **Raises:** as `q_agent` does.
    """
    where = "quantile_q_agent"
    num_quantiles = check_count(f"{where}: num_quantiles", num_quantiles)
    return _distributional(where, env, key, num_quantiles, None, widths, activation)


def _distributional(
    where: str,
    env: Any,
    key: Key,
    num_atoms: int,
    support: tuple[float, float] | None,
    widths: Sequence[int],
    activation: Activation,
) -> DistributionalQAgent:
    observations, actions = spaces_of(env)
    num_actions = _num_actions(where, actions)
    sizes = (*check_counts(f"{where}: widths", widths), num_actions * num_atoms)
    encoding, network = network_for(where, observations, sizes, activation, key)
    return DistributionalQAgent(encoding, network, num_actions, num_atoms, support)


def _num_actions(where: str, actions: Space) -> int:
    if isinstance(actions, Discrete):
        return actions.n
    raise WiringError(
        explain(
            f"{where}: actions",
            wanted="a Discrete space: a value for each action",
            got=f"{actions!r}",
            fix="Pick an environment with discrete actions, or an algorithm for real ones.",
        )
    )
