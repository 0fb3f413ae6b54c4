"""Sampling from a replay buffer: uniform and prioritised."""

import abc
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from lerax_fx._core.arguments import check_number, suggest_keywords
from lerax_fx._core.runner import safe_increment
from lerax_fx._core.schedules import EvaluatesSchedules, ScalarOrSchedule, value_at
from lerax_fx._replay.buffer import RingBuffer
from lerax_fx.typing import Count, Fraction, Interval, Key, Positive, Scalar, Tree

# An add, a draw and an update of 128 places, in a scan on one CPU thread, take with 8 children
# 16 us of 10,000 numbers and 25 of a million; with 2 children 22 and 40, with 32 48 and 54. A
# cumulative sum over all and a binary search take 21 and 1,851.
_CHILDREN = 8


@final
class SumTree(eqx.Module):
    """A sum tree: `levels[0]` holds numbers of at least 0, each level after it the sums of the
    groups of the one before, the last the sum of all.

    Schaul et al. 2016, "Prioritized Experience Replay", appendix B.2.1, with wider nodes: a
    few operations on all drawn places at once, instead of many.
    """

    levels: tuple[Float[Array, "_"], ...]

    @staticmethod
    def empty(size: int) -> "SumTree":
        """A tree of zeros, for indices from 0 to `size - 1`."""
        levels: list[Array] = []
        while size > 1:
            groups = -(-size // _CHILDREN)
            levels.append(jnp.zeros(groups * _CHILDREN))
            size = groups
        return SumTree((*levels, jnp.zeros(1)))

    @property
    def total(self) -> Scalar:
        """The sum of all numbers."""
        return self.levels[-1][0]

    def at(self, index: Int[Array, "*places"]) -> Float[Array, "*places"]:
        """The numbers at indices."""
        return self.levels[0].at[index].get(mode="promise_in_bounds")

    def set(self, index: Int[Array, " places"], numbers: Float[Array, " places"]) -> "SumTree":
        """Set numbers; where an index comes more than once, all must be the same."""
        levels = [self.levels[0].at[index].set(numbers, mode="promise_in_bounds")]
        for level in self.levels[1:]:
            index = index // _CHILDREN
            # Added up anew, not by the difference: errors of rounding do not gather.
            sums = _children(levels[-1], index).sum(axis=-1)
            levels.append(level.at[index].set(sums, mode="promise_in_bounds"))
        return SumTree(tuple(levels))

    def draw(self, key: Key, number: int) -> Int[Array, " number"]:
        """Sample indices, independently, each with probability `at(index) / total`.

        Place 0 if all numbers are 0.
        """
        # A random number for each level: one for all of them would be too coarse for
        # the places of a large tree.
        drawn = 1 - jax.random.uniform(key, (len(self.levels) - 1, number))
        index = jnp.zeros(number, jnp.int32)
        for level, fraction in zip(self.levels[-2::-1], drawn, strict=True):
            index = index * _CHILDREN + jax.vmap(_choose)(_children(level, index), fraction)
        return index


def _children(level: Float[Array, " numbers"], index: Int[Array, " groups"]) -> Array:
    groups = level.reshape(-1, _CHILDREN)
    return groups.at[index].get(mode="promise_in_bounds")


def _choose(numbers: Float[Array, " children"], fraction: Scalar) -> Int[Array, ""]:
    """Inverse transform sampling: the first index whose cumulative sum reaches a fraction, in (0,
    1], of the total.
    """
    # Rounded, a sum may reach at a 0 what it missed before; a 0 must never be chosen.
    sums = jnp.where(numbers > 0, jnp.cumsum(numbers), 0.0)
    return jnp.argmax(sums >= fraction * sums.max())


@final
class SampledWindows(eqx.Module):
    """Windows sampled from a replay buffer.

    - `first`: where in the ring each begins.
    - `weight`: how much each is to count, `None` if all count equally.
    """

    first: Int[Array, "updates batch"]
    weight: Float[Array, "updates batch"] | None


class AbstractSampling(EvaluatesSchedules):
    """A sampling scheme of a replay buffer, and its state."""

    @property
    def wants_priorities(self) -> bool:
        """Whether the stage within has to give data with a `priority`."""
        return False

    @abc.abstractmethod
    def init(self, ring: RingBuffer) -> Tree:
        """The state for an empty buffer."""

    @abc.abstractmethod
    def added(self, state: Tree, ring: RingBuffer, count: int, length: int) -> Tree:
        """The state after the newest `count` rows of a buffer were added; windows have `length`."""

    def draw_ahead(self, key: Key, shape: tuple[int, int]) -> Tree:
        """The random draws of `draw` that depend only on the key; by default the
        key itself.
        """
        del shape
        return key

    @abc.abstractmethod
    def draw(
        self, state: Tree, ring: RingBuffer, length: int, ahead: Tree, shape: tuple[int, int]
    ) -> SampledWindows:
        """Sample windows, for so many updates and so many each; meaningless while there is none.

        `ahead` is what `draw_ahead` gave.
        """

    @abc.abstractmethod
    def update_priorities(
        self, state: Tree, first: Int[Array, "updates batch"], priority: Tree
    ) -> Tree:
        """The state after the sampled windows got new priorities; NaN for none."""


@final
class Uniform(AbstractSampling):
    """See [`uniform`][lerax_fx.uniform]."""

    def init(self, ring: RingBuffer) -> tuple[()]:
        del ring
        return ()

    def added(self, state: tuple[()], ring: RingBuffer, count: int, length: int) -> tuple[()]:
        del ring, count, length
        return state

    def draw_ahead(self, key: Key, shape: tuple[int, int]) -> UInt32[Array, "updates batch"]:
        return jax.random.bits(key, (shape[0] * shape[1],)).reshape(shape)

    def draw(
        self, state: tuple[()], ring: RingBuffer, length: int, ahead: Tree, shape: tuple[int, int]
    ) -> SampledWindows:
        del state, shape
        return SampledWindows(ring.starts(ahead, length), None)

    def update_priorities(
        self, state: tuple[()], first: Int[Array, "updates batch"], priority: Tree
    ) -> tuple[()]:
        del first, priority
        return state


def uniform() -> Uniform:
    """Uniform sampling of windows: the default of [`replay`][lerax_fx.replay].

    Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1.
    """
    return Uniform()


@final
class Priorities(eqx.Module):
    """The priorities of the rows of a replay buffer.

    - `tree`: the priority of the window that begins there, raised to the exponent; 0 where
      no whole window does.
    - `largest`: of all priorities so far, not raised.
    - `steps`: how many were stored so far; it stays at `2^31 - 1` once it is there.
    """

    tree: SumTree
    largest: Scalar
    steps: Count


@final
class Prioritized(AbstractSampling):
    """See [`prioritized`][lerax_fx.prioritized]."""

    exponent: ScalarOrSchedule
    importance: ScalarOrSchedule
    epsilon: ScalarOrSchedule

    @property
    def wants_priorities(self) -> bool:
        return True

    def init(self, ring: RingBuffer) -> Priorities:
        tree = SumTree.empty(ring.rows * ring.num_envs)
        return Priorities(tree, jnp.ones(()), jnp.zeros((), jnp.int32))

    def added(self, state: Priorities, ring: RingBuffer, count: int, length: int) -> Priorities:
        # The newest rows begin no whole window yet; as many before them begin one now.
        age = ring.changed(count, length)
        exponent = self._exponent(state)
        priority = jnp.where(ring.begins_window(age, length), state.largest**exponent, 0.0)
        places = ring.places_of(age)
        tree = state.tree.set(places.ravel(), jnp.repeat(priority, ring.num_envs))
        steps = safe_increment(state.steps, count * ring.num_envs)
        return Priorities(tree, state.largest, steps)

    def draw(
        self, state: Priorities, ring: RingBuffer, length: int, ahead: Tree, shape: tuple[int, int]
    ) -> SampledWindows:
        del ring, length
        first = state.tree.draw(ahead, shape[0] * shape[1]).reshape(shape)
        importance = value_at("prioritized: importance", self.importance, state.steps)
        return SampledWindows(first, importance_weights(state.tree.at(first), importance))

    def update_priorities(
        self, state: Priorities, first: Int[Array, "updates batch"], priority: Any
    ) -> Priorities:
        exponent = self._exponent(state)
        epsilon = value_at("prioritized: epsilon", self.epsilon, state.steps)

        def learn(state: Priorities, xs: Any) -> tuple[Priorities, None]:
            first, priority = xs
            known = jnp.isfinite(priority)
            # Finite also where it is left out, for the sake of gradients; and rounding may bring
            # what is never negative a little below 0.
            priority = jnp.where(known, jnp.maximum(priority, 0.0), 0.0) + epsilon
            raised = jnp.where(known, priority**exponent, state.tree.at(first))
            largest = jnp.maximum(state.largest, jnp.max(priority, where=known, initial=0.0))
            return Priorities(state.tree.set(first, raised), largest, state.steps), None

        # One after another: a window that two updates drew has the later one's priority.
        return jax.lax.scan(learn, state, (first, priority))[0]

    def _exponent(self, state: Priorities) -> Scalar:
        return value_at("prioritized: exponent", self.exponent, state.steps)


def importance_weights(
    priority: Float[Array, "*updates batch"], importance: Scalar
) -> Float[Array, "*updates batch"]:
    """`(N P(i))^-importance`, divided by the largest of each batch, in which `N` and the sum of
    all priorities cancel: Schaul et al. 2016, "Prioritized Experience Replay", section 3.4.
    """
    priority = jnp.maximum(priority, jnp.finfo(priority.dtype).tiny)
    return (priority / priority.min(axis=-1, keepdims=True)) ** -importance


@suggest_keywords
def prioritized(
    *, exponent: Fraction = 0.6, importance: ScalarOrSchedule = 0.4, epsilon: Positive = 1e-6
) -> Prioritized:
    """Prioritised experience replay, for [`replay`][lerax_fx.replay]: windows are sampled in
    proportion to a power of their priority.

        P(i) = p_i^exponent / sum_k p_k^exponent,    p_i = |error_i| + epsilon
        weight_i = (N P(i))^-importance / max_j weight_j

    Schaul et al. 2016, "Prioritized Experience Replay", eq. 1 and sections 3.3 and 3.4:
    proportional prioritisation. Windows are drawn independently, with replacement; the
    largest weight is that of the batch. A window that was never sampled has the
    largest priority so far, at first 1.

    Importance weights come with [`Transitions`][lerax_fx.data.Transitions]; new priorities are the
    `priority` of the data that the stage within gives, of shape `(batch_size,)`, which
    [`minimize`][lerax_fx.minimize] sets from the loss, and so can a stage of one's own. That of
    [`q_loss`][lerax_fx.q_loss] is the absolute temporal difference, of
    [`c51_loss`][lerax_fx.c51_loss] the Kullback-Leibler divergence (Hessel et
    al. 2018, "Rainbow"), [`quantile_regression_loss`][lerax_fx.quantile_regression_loss] the loss.
    Where that is not finite, the old priority stays. All batches of one update are drawn before it.

    **Arguments:**

    - `exponent`: in [0, 1]; 0 for uniform sampling. Each priority is raised when it is stored.
    - `importance`: in [0, 1]; 1 corrects for the sampling in full.
    - `epsilon`: finite and above 0, so that every window can be sampled.

    Each may be a schedule, over the environment steps that were stored.

    **Raises:** `HyperparameterError` for a number outside of these.
    """
    unit = Interval(0.0, 1.0)
    return Prioritized(
        check_number("prioritized: exponent", exponent, unit, schedule=True),
        check_number("prioritized: importance", importance, unit, schedule=True),
        check_number(
            "prioritized: epsilon",
            epsilon,
            Interval(0.0, open_low=True, open_high=True),
            schedule=True,
        ),
    )
