"""Q-networks: feedforward, recurrent and distributional, and their constructors."""

import math
from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arguments import check_count, check_counts, check_flag, suggest_keywords
from lerax_fx.agents.encoding import AnyEncoding, network_for, torso_for
from lerax_fx.agents.entries import ActionMask, allowed_actions, split_mask
from lerax_fx.agents.networks import GRU, Activation, Linear, orthogonal
from lerax_fx.agents.noise import draw_noise, make_noisy
from lerax_fx.agents.protocols import (
    AbstractFeedforward,
    DistributionalQOutput,
    QOutput,
    greedy_output,
)
from lerax_fx.agents.recurrent import AbstractRecurrent
from lerax_fx.agents.returns import CategoricalReturns, QuantileReturns, Returns
from lerax_fx.envs.registry import spaces_of
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.spaces import Discrete, Space
from lerax_fx.typing import Key, Tree


@final
class QAgent(AbstractFeedforward):
    """A Q-network, with its greedy policy.

    - `encoding`: of observations as floats.
    - `network`: a module from the encoded observation to a number for each action; if
      `dueling`, to one for each action and one more.
    - `num_actions`: how many there are.
    - `dueling`: whether these are advantages and the observation's value, as in Wang et al.
      2016, "Dueling Network Architectures for Deep Reinforcement Learning", eq. 9.
    - `action_mask`: which actions an observation allows, or None.
    """

    encoding: AnyEncoding
    network: Callable[..., Any]
    num_actions: int = eqx.field(static=True)
    dueling: bool = eqx.field(static=True, default=False)
    action_mask: ActionMask | None = None

    def output(self, observation: Tree, key: Key) -> QOutput:
        return self._output(draw_noise(self.network, key), observation)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[None, QOutput]:
        """With one draw of a noisy network for all observations."""
        del memory, resets
        network = draw_noise(self.network, key)
        return None, jax.vmap(lambda observation: self._output(network, observation))(observations)

    def _output(self, network: Callable[..., Any], observation: Tree) -> QOutput:
        q_values = self._q_values(network(self.encoding(observation)))
        return greedy_output(q_values, allowed_actions(self.action_mask, observation))

    def _q_values(self, outputs: Float[Array, " outputs"]) -> Float[Array, "{self.num_actions}"]:
        if not self.dueling:
            return outputs
        advantages = outputs[1:]
        return outputs[0] + advantages - advantages.mean()


@final
class RecurrentQAgent(AbstractRecurrent):
    """A recurrent Q-network: a GRU on features of the observation, whose hidden state gives the
    Q-values. Its policy is greedy.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features.
    - `gru`: the hidden state is a vector that starts at zero.
    - `head`: a module from the hidden state to a number for each action.
    - `num_actions`: how many there are.
    - `action_mask`: which actions an observation allows, or None.
    """

    encoding: AnyEncoding
    torso: Callable[..., Any]
    gru: GRU
    head: Callable[..., Any]
    num_actions: int = eqx.field(static=True)
    action_mask: ActionMask | None = None

    def _output(self, memory: Float[Array, " size"], observation: Tree) -> QOutput:
        allowed = allowed_actions(self.action_mask, observation)
        return greedy_output(self._q_values(memory), allowed)

    def _q_values(self, memory: Float[Array, " size"]) -> Float[Array, "{self.num_actions}"]:
        return self.head(memory)


@final
class DistributionalQAgent(AbstractFeedforward):
    """A distributional Q-network: a return distribution for each action, with the policy that is
    greedy in their means.

    - `encoding`: of observations as floats.
    - `network`: a module from the encoded observation to `num_actions * num_atoms` numbers.
    - `num_actions`, `num_atoms`: how many there are.
    - `support`: the lowest and the highest atom, if the network gives the logits of fixed
      ones; `None` if it gives quantiles. It is structure: an optimiser that decays weights
      must not move it.
    - `action_mask`: which actions an observation allows, or None.
    """

    encoding: AnyEncoding
    network: Callable[..., Any]
    num_actions: int = eqx.field(static=True)
    num_atoms: int = eqx.field(static=True)
    support: tuple[float, float] | None = eqx.field(static=True, default=None)
    action_mask: ActionMask | None = None

    def output(self, observation: Tree, key: Key) -> DistributionalQOutput:
        return self._output(draw_noise(self.network, key), observation)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[None, DistributionalQOutput]:
        """With one draw of a noisy network for all observations."""
        del memory, resets
        network = draw_noise(self.network, key)
        return None, jax.vmap(lambda observation: self._output(network, observation))(observations)

    def _output(self, network: Callable[..., Any], observation: Tree) -> DistributionalQOutput:
        returns = self._returns(network(self.encoding(observation)))
        greedy = greedy_output(returns.mean, allowed_actions(self.action_mask, observation))
        return DistributionalQOutput(
            greedy.distribution,
            greedy.value,
            greedy.q_values,
            returns,
            action_mask=greedy.action_mask,
        )

    def _returns(self, outputs: Float[Array, "{self.num_actions*self.num_atoms}"]) -> Returns:
        numbers = outputs.reshape(self.num_actions, self.num_atoms)
        if self.support is None:
            return QuantileReturns(numbers)
        return CategoricalReturns(numbers, self.support)


@suggest_keywords
def q_agent(
    env: Any,
    *,
    key: Key,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
    dueling: bool = False,
    layer_norm: bool = False,
    action_mask: str | None = None,
    noisy: bool = False,
) -> QAgent:
    """A Q-network of a multilayer perceptron; for images, with a convolutional torso as in
    [`cnn_actor_critic`][lerax_fx.agents.cnn_actor_critic].

    With the defaults, the network of CleanRL's and PureJaxRL's DQN.

    **Arguments:**

    - `env`, `activation`: as in [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic].
    - `widths`: of the hidden layers.
    - `dueling`: whether value and advantages have separate streams (Wang et al. 2016).
    - `layer_norm`: whether hidden layers are normalised before they are activated, which
      lets values be learnt without a target network (Gallici et al. 2024).
    - `action_mask`: the name of an entry of `Dict` observations that says which actions are
      allowed: bools, or integers 0 or 1, one for each. The Q-values of the others are the lowest
      finite number, so that neither the greedy policy nor a target takes them, nor does
      exploration; where none is allowed, all are. The networks do not see the entry.
    - `noisy`: whether the dense layers are noisy ones, for exploration (Fortunato et al. 2018,
      "Noisy Networks for Exploration"): the weights are drawn anew at each step of acting, once for
      each batch in a loss, and independently for the target network. It acts greedily in a draw, so
      no other exploration is needed.

    **Raises:** `WiringError` if actions are not `Discrete`, or for observations that it has
    no network for, or without the entry `action_mask`; `HyperparameterError` for an unknown
    activation or a size below 1.
    """
    where = "q_agent"
    observations, actions = spaces_of(env)
    num_actions = _num_actions(where, actions)
    observations, mask = split_mask(where, observations, actions, action_mask)
    dueling = check_flag(f"{where}: dueling", dueling)
    layer_norm = check_flag(f"{where}: layer_norm", layer_norm)
    sizes = (*check_counts(f"{where}: widths", widths), num_actions + dueling)
    encoding, network = network_for(
        where, observations, sizes, activation, key, layer_norm=layer_norm
    )
    if check_flag(f"{where}: noisy", noisy):
        network = make_noisy(network, key=key)
    return QAgent(encoding, network, num_actions, dueling, mask)


@suggest_keywords
def gru_q_agent(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    activation: Activation = "relu",
    action_mask: str | None = None,
) -> RecurrentQAgent:
    """A recurrent Q-network, of an encoder and a GRU: Hausknecht & Stone 2015, "Deep Recurrent
    Q-Learning for Partially Observable MDPs".

    **Arguments:** as in [`gru_actor_critic`][lerax_fx.agents.gru_actor_critic], and
    `action_mask` as in [`q_agent`][lerax_fx.q_agent].

    **Raises:** as [`q_agent`][lerax_fx.q_agent] does.
    """
    where = "gru_q_agent"
    observations, actions = spaces_of(env)
    num_actions = _num_actions(where, actions)
    observations, mask = split_mask(where, observations, actions, action_mask)
    torso_key, gru_key, head_key = jax.random.split(key, 3)
    encoding, torso = torso_for(where, observations, width, depth, activation, torso_key)
    head = Linear(orthogonal(head_key, width, num_actions, 1.0))
    gru = GRU(width, width, key=gru_key)
    return RecurrentQAgent(encoding, torso, gru, head, num_actions, mask)


@suggest_keywords
def categorical_q_agent(
    env: Any,
    *,
    key: Key,
    num_atoms: int = 51,
    low: float = -10.0,
    high: float = 10.0,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
    action_mask: str | None = None,
    noisy: bool = False,
) -> DistributionalQAgent:
    """As [`q_agent`][lerax_fx.q_agent], with a categorical return distribution for each action:
    Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning", section 4.

    **Arguments:**

    - `num_atoms`: how many, evenly spaced; at least 2. By default, atoms are the paper's.
    - `low`, `high`: the lowest and the highest discounted return that can be told.
    - `env`, `widths`, `activation`, `action_mask`, `noisy`: as for `q_agent`.

    **Raises:** as `q_agent` does, and `HyperparameterError` if `low` is not below `high`.
    """
    where = "categorical_q_agent"
    num_atoms = check_count(f"{where}: num_atoms", num_atoms, at_least=2)
    ends: tuple[Any, Any] = low, high
    numbers = all(isinstance(end, int | float | np.number) for end in ends)
    if not (numbers and -math.inf < low < high < math.inf):
        raise HyperparameterError(
            format_error(
                f"{where}: low",
                wanted="a finite number below high",
                got=f"low={low}, high={high}",
                fix="Bound the discounted return: the largest reward / (1 - discount) does.",
            )
        )
    support = float(low), float(high)
    return _distributional(
        where, env, key, num_atoms, support, widths, activation, action_mask, noisy
    )


@suggest_keywords
def quantile_q_agent(
    env: Any,
    *,
    key: Key,
    num_quantiles: int = 200,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
    action_mask: str | None = None,
    noisy: bool = False,
) -> DistributionalQAgent:
    """As [`q_agent`][lerax_fx.q_agent], with quantiles of each action's return: Dabney et al.
    2018, "Distributional Reinforcement Learning with Quantile Regression".

    **Arguments:**

    - `num_quantiles`: how many, each of the same probability; by default, the paper's.
    - `env`, `widths`, `activation`, `action_mask`, `noisy`: as for `q_agent`.

    **Raises:** as `q_agent` does.
    """
    where = "quantile_q_agent"
    num_quantiles = check_count(f"{where}: num_quantiles", num_quantiles)
    return _distributional(
        where, env, key, num_quantiles, None, widths, activation, action_mask, noisy
    )


def _distributional(
    where: str,
    env: Any,
    key: Key,
    num_atoms: int,
    support: tuple[float, float] | None,
    widths: Sequence[int],
    activation: Activation,
    action_mask: str | None,
    noisy: bool,
) -> DistributionalQAgent:
    observations, actions = spaces_of(env)
    num_actions = _num_actions(where, actions)
    observations, mask = split_mask(where, observations, actions, action_mask)
    sizes = (*check_counts(f"{where}: widths", widths), num_actions * num_atoms)
    encoding, network = network_for(where, observations, sizes, activation, key)
    if check_flag(f"{where}: noisy", noisy):
        network = make_noisy(network, key=key)
    return DistributionalQAgent(encoding, network, num_actions, num_atoms, support, mask)


def _num_actions(where: str, actions: Space) -> int:
    if isinstance(actions, Discrete):
        return actions.n
    raise WiringError(
        format_error(
            f"{where}: actions",
            wanted="a Discrete space: a value for each action",
            got=f"{actions!r}",
            fix="Use an environment with discrete actions, or an algorithm for continuous ones.",
        )
    )
