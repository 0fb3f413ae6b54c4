"""Bootstrap targets from target networks: DQN, C51 and QR-DQN, SAC, TD3."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lerax_fx._core.arguments import check_count, check_flag, check_number, suggest_keywords
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.packing import replace_part
from lerax_fx.agents.policies import DeterministicAction
from lerax_fx.agents.protocols import (
    ContinuousQ,
    DistributionalQNetwork,
    QNetwork,
    check_agent_family,
    check_output,
    check_q_values,
)
from lerax_fx.agents.returns import returns_of_action
from lerax_fx.agents.unroll import (
    agent_key,
    batch_apply,
    check_has_memory,
    has_memory,
    next_outputs,
    split_keys,
    unroll_batch,
)
from lerax_fx.data import DistributionTargets, Targets, Transitions, durations
from lerax_fx.errors import WiringError, format_error
from lerax_fx.losses.sac_td3 import check_soft_agent, soft_value
from lerax_fx.stages.target_networks import AbstractTargetUpdate, check_target_update
from lerax_fx.typing import Count, Fraction, Interval, Key, NonNegative, Positive, Scalar, Tree


@final
class TargetState(eqx.Module):
    """The arrays of the target network, `network`, and the number of its `updates`."""

    network: Tree
    updates: Count


def init_target_network(agent: Tree) -> TargetState:
    """A target network with the agent's parameters."""
    return TargetState(eqx.filter(agent, eqx.is_array), jnp.zeros((), jnp.int32))


def update_target_network(
    follow: AbstractTargetUpdate, agent: Tree, state: TargetState
) -> tuple[Any, TargetState]:
    """Update a target network: the agent with its parameters, and the next state."""
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
        return init_target_network(agent)

    def update(self, agent: Tree, state: TargetState, data: Transitions, key: Key) -> Step[Targets]:
        target_agent, state = update_target_network(self.follow, agent, state)
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
    """n-step bootstrapping of a trajectory, for each step that `n` others or an episode's end
    follow: the discounted rewards, the observation to bootstrap from with its `discount`, 0 where
    terminated, and the step that led to it.
    """

    reward: Float[Array, "*starts"]
    discount: Float[Array, "*starts"]
    observation: Tree
    place: Int[Array, "*starts"]

    def target(self, values: Float[Array, "*starts"]) -> Float[Array, "*starts"]:
        """The rewards and the discounted `values` of the observations."""
        # Selected, not multiplied by 0: the value of a terminal observation may be anything.
        return self.reward + jnp.where(self.discount == 0.0, 0.0, self.discount * values)


def bootstrap_each(where: str, data: Transitions, n: int, discount: Fraction) -> Bootstrap:
    """[`bootstrap`][lerax_fx.stages.targets.bootstrap], for each of a batch of windows."""
    return jax.vmap(lambda window: bootstrap(where, window, n, discount))(data)


def bootstrap(where: str, window: Transitions, n: int, discount: Fraction) -> Bootstrap:
    """Sutton & Barto 2018, eq. 7.1, for one trajectory, cut where an episode ends; over
    `Timed` observations, each step is discounted by its own `discount ** dt`.

    **Raises:** `WiringError`, in the name of the stage `where`, for fewer steps than `n`.
    """
    starts = window.reward.shape[0] - n + 1
    if starts < 1:
        raise WiringError(
            format_error(
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


@suggest_keywords
def td_target(
    *,
    discount: Fraction = 0.99,
    n: int = 1,
    double: bool = False,
    update: AbstractTargetUpdate | None = None,
) -> TDTarget:
    """Bootstrap targets for the Q-values of the actions taken, from a target network.

        target = r_1 + discount r_2 + ... + discount^(n-1) r_n + discount^n max_a Q'(o_n, a)

    Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1.
    A sum ends where its episode ends; then `Q'` is of the observation before the reset, if
    the episode was truncated, and left out if it terminated. A recurrent agent is unrolled over
    the window up to there, from the hidden state at its start.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.data.Timed], one unit of time later: `discount ** dt` for a step.
    - `n`: how many rewards. Windows of `L` steps give targets for their first `L - n + 1`.
    - `double`: the online network picks the action, the target network gives its value: van
      Hasselt et al. 2016, "Deep Reinforcement Learning with Double Q-learning", eq. 4.
    - `update`: [`periodic`][lerax_fx.periodic] or [`polyak`][lerax_fx.polyak]; by default
      the target network is the agent as it is at each update.

    **Raises:** `HyperparameterError` for a discount outside [0, 1] or an `n` below 1;
    `WiringError`, when traced, for windows shorter than `n`, or an agent without
    Q-values.
    """
    return TDTarget(
        check_number("td_target: discount", discount, Interval(0.0, 1.0), schedule=True),
        check_count("td_target: n", n),
        check_flag("td_target: double", double),
        check_target_update("td_target: update", update),
    )


def bootstrapped(
    where: str,
    data: Transitions,
    value: Callable[[Tree, Key], Scalar],
    key: Key,
    *,
    n: int,
    discount: Fraction,
) -> Targets:
    """n-step bootstrap targets: `n` rewards and the discounted `value` of the observation after
    them, with a key for each.

    **Raises:** `WiringError`, of the stage `where`, for windows shorter than `n`.
    """
    ahead = bootstrap_each(where, data, n, discount)
    windows, starts = ahead.reward.shape
    keys = split_keys(key, (windows, starts))
    values = batch_apply(value, 2, ahead.observation, keys)
    observation, action = jax.tree.map(lambda x: x[:, :starts], (data.observation, data.action))
    return Targets(observation, action, ahead.target(values), data.weight)


@final
class DistributionalTDTarget(Transform[Transitions, DistributionTargets]):
    """See [`distributional_td_target`][lerax_fx.distributional_td_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    double: bool = eqx.field(static=True)
    follow: AbstractTargetUpdate

    def init(self, agent: Tree, data: Shapes, key: Key) -> TargetState:
        del data, key
        return init_target_network(agent)

    def update(
        self, agent: Tree, state: TargetState, data: Transitions, key: Key
    ) -> Step[DistributionTargets]:
        target_agent, state = update_target_network(self.follow, agent, state)
        bootstraps = bootstrap_each(self.name, data, self.n, self.discount)
        returns = self._returns(agent, target_agent, data, bootstraps, key)
        reward, discount = bootstraps.reward[..., None], bootstraps.discount[..., None]
        # Selected, not multiplied by 0: the value of a terminal observation may be anything.
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
        """The return distribution of the greedy action."""
        outputs = bootstrap_outputs(self.name, target_agent, data, bootstraps, key)
        check_output(self.name, outputs, DistributionalQNetwork)
        q_values = outputs.q_values
        if self.double:
            online = bootstrap_outputs(self.name, agent, data, bootstraps, agent_key(key))
            q_values = online.q_values
        return returns_of_action(outputs.return_distribution, jnp.argmax(q_values, axis=-1))


@suggest_keywords
def distributional_td_target(
    *,
    discount: Fraction = 0.99,
    n: int = 1,
    double: bool = False,
    update: AbstractTargetUpdate | None = None,
) -> DistributionalTDTarget:
    """Bootstrap targets for the return distributions of the actions taken, from a target network:
    the distribution of

        r_1 + discount r_2 + ... + discount^(n-1) r_n + discount^n Z'(o_n, argmax_a mean Z'(o_n, a))

    where `Z'` is the target network's return distribution: its atoms are shifted and scaled,
    their probabilities stay. Bellemare et al. 2017, "A Distributional Perspective on
    Reinforcement Learning", algorithm 1 (before the projection, which belongs to the loss);
    Dabney et al. 2018, "Distributional Reinforcement Learning with Quantile Regression",
    algorithm 1. Episode ends are treated as in [`td_target`][lerax_fx.td_target]:
    after a termination all atoms are the sum of the rewards.

    **Arguments:** `discount`, `n`, `update`: as for `td_target`.

    - `double`: the online network picks the action whose return the target network gives.

    **Raises:** as `td_target` does, and `WiringError`, when traced, for an agent without
    distributions of the return.
    """
    return DistributionalTDTarget(
        check_number(
            "distributional_td_target: discount", discount, Interval(0.0, 1.0), schedule=True
        ),
        check_count("distributional_td_target: n", n),
        check_flag("distributional_td_target: double", double),
        check_target_update("distributional_td_target: update", update),
    )


@final
class TD3Target(Transform[Transitions, Targets]):
    """See [`td3_target`][lerax_fx.td3_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    noise: NonNegative | None
    clip: Positive
    follow: AbstractTargetUpdate

    def init(self, agent: Tree, data: Shapes, key: Key) -> TargetState:
        del data, key
        check_agent_family("td3_target", agent, ContinuousQ)
        return init_target_network(agent)

    def update(self, agent: Tree, state: TargetState, data: Transitions, key: Key) -> Step[Targets]:
        target_agent, state = update_target_network(self.follow, agent, state)

        def value(observation: Tree, key: Key) -> Scalar:
            return self._value(target_agent, observation, key)

        out = bootstrapped(self.name, data, value, key, n=self.n, discount=self.discount)
        return Step(agent, state, out)

    def _value(self, target_agent: Any, observation: Tree, key: Key) -> Scalar:
        """The minimum of the target critics' values of the target actor's action."""
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
        format_error(
            "td3_target: agent",
            wanted="an agent whose policy is deterministic",
            got=f"one whose policy is a {type(distribution).__name__}",
            fix="Make the agent with fx.deterministic_actor_critic(env, key=key).",
        )
    )


@suggest_keywords
def td3_target(
    *,
    discount: Fraction = 0.99,
    n: int = 1,
    noise: NonNegative | None = None,
    clip: Positive = 0.5,
    update: AbstractTargetUpdate | None = None,
) -> TD3Target:
    """TD3's and DDPG's bootstrap targets for the critics, from target networks of actor and
    critics.

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
    - `clip`: the largest absolute noise, in the same units.
    - `update`: [`periodic`][lerax_fx.periodic] or [`polyak`][lerax_fx.polyak]; by default
      the target networks are the agent as it is at each update.

    **Raises:** `HyperparameterError` for a number outside; `WiringError`, when traced, for
    windows shorter than `n`, or an agent without critics or with a stochastic policy.
    """
    where = "td3_target"
    return TD3Target(
        check_number(f"{where}: discount", discount, Interval(0.0, 1.0), schedule=True),
        check_count(f"{where}: n", n),
        None
        if noise is None
        else check_number(f"{where}: noise", noise, Interval(0.0), schedule=True),
        check_number(f"{where}: clip", clip, Interval(0.0, open_low=True), schedule=True),
        check_target_update(f"{where}: update", update),
    )


@final
class SACTarget(Transform[Transitions, Targets]):
    """See [`sac_target`][lerax_fx.sac_target]."""

    discount: Fraction
    n: int = eqx.field(static=True)
    follow: AbstractTargetUpdate

    def init(self, agent: Any, data: Shapes, key: Key) -> TargetState:
        del data, key
        check_soft_agent("sac_target", agent)
        return init_target_network(agent.critic)

    def update(self, agent: Any, state: TargetState, data: Transitions, key: Key) -> Step[Targets]:
        critic, state = update_target_network(self.follow, agent.critic, state)
        critic = replace_part(agent, lambda agent: agent.critic, critic)
        family = check_soft_agent("sac_target", agent)

        def value(observation: Tree, key: Key) -> Scalar:
            least, entropy = soft_value(family, agent, critic, observation, key)
            return least + jnp.exp(agent.log_temperature) * entropy

        out = bootstrapped(self.name, data, value, key, n=self.n, discount=self.discount)
        return Step(agent, state, out)


@suggest_keywords
def sac_target(
    *, discount: Fraction = 0.99, n: int = 1, update: AbstractTargetUpdate | None = None
) -> SACTarget:
    """SAC's bootstrap targets for the critics: the minimum of the target critics' values, plus the
    temperature times the policy's entropy.

        target = r_1 + ... + discount^(n-1) r_n
               + discount^n (min_i Q'_i(o_n, a) - temperature log pi(a | o_n)),  a ~ pi(o_n)

    Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905),
    eq. 5, with the minimum of the critics as in its section 6. Of the steps between the first
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
    return SACTarget(
        check_number("sac_target: discount", discount, Interval(0.0, 1.0), schedule=True),
        check_count("sac_target: n", n),
        check_target_update("sac_target: update", update),
    )
