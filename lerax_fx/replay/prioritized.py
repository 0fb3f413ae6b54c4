"""Windows by how much there is to learn from them."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_number
from lerax_fx._core.runner import safe_increment
from lerax_fx._core.schedules import ScalarOrSchedule, value_at
from lerax_fx.replay.ring import Ring
from lerax_fx.replay.sampling import AbstractSampling, Drawn
from lerax_fx.replay.sum_tree import SumTree
from lerax_fx.types import Count, Fraction, Interval, Positive, Scalar, Tree


@final
class Priorities(eqx.Module):
    """What is known of each place in a ring.

    - `tree`: the priority of the window that begins there, raised to the exponent; 0 where
      no whole window does.
    - `largest`: of all priorities so far, not raised.
    - `steps`: how many were remembered so far; it stays at `2^31 - 1` once it is there.
    """

    tree: SumTree
    largest: Scalar
    steps: Count


@final
class Prioritized(AbstractSampling):
    """See [`prioritized`][lerax_fx.prioritized]."""

    exponent: Fraction
    importance: ScalarOrSchedule
    epsilon: Positive

    @property
    def wants_priorities(self) -> bool:
        return True

    def init(self, ring: Ring) -> Priorities:
        tree = SumTree.empty(ring.rows * ring.num_envs)
        return Priorities(tree, jnp.ones(()), jnp.zeros((), jnp.int32))

    def added(self, state: Priorities, ring: Ring, count: int, length: int) -> Priorities:
        # The newest rows begin no whole window yet; as many before them begin one now.
        age = ring.changed(count, length)
        priority = jnp.where(ring.begins_window(age, length), state.largest**self.exponent, 0.0)
        places = ring.places_of(age)
        tree = state.tree.set(places.ravel(), jnp.repeat(priority, ring.num_envs))
        steps = safe_increment(state.steps, count * ring.num_envs)
        return Priorities(tree, state.largest, steps)

    def draw(
        self, state: Priorities, ring: Ring, length: int, ahead: Tree, shape: tuple[int, int]
    ) -> Drawn:
        del ring, length
        first = state.tree.draw(ahead, shape[0] * shape[1]).reshape(shape)
        importance = value_at("prioritized: importance", self.importance, state.steps)
        return Drawn(first, importance_weights(state.tree.at(first), importance))

    def learned(
        self, state: Priorities, first: Int[Array, "updates batch"], priority: Any
    ) -> Priorities:
        def learn(state: Priorities, xs: Any) -> tuple[Priorities, None]:
            first, priority = xs
            known = jnp.isfinite(priority)
            # Finite also where it is left out, for the sake of gradients; and rounding may bring
            # what is never negative a little below 0.
            priority = jnp.where(known, jnp.maximum(priority, 0.0), 0.0) + self.epsilon
            raised = jnp.where(known, priority**self.exponent, state.tree.at(first))
            largest = jnp.maximum(state.largest, jnp.max(priority, where=known, initial=0.0))
            return Priorities(state.tree.set(first, raised), largest, state.steps), None

        # One after another: a window that two updates drew has the later one's priority.
        return jax.lax.scan(learn, state, (first, priority))[0]


def importance_weights(
    priority: Float[Array, "*updates batch"], importance: Scalar
) -> Float[Array, "*updates batch"]:
    """`(N P(i))^-importance`, divided by the largest of each batch, in which `N` and the sum of
    all priorities cancel: Schaul et al. 2016, "Prioritized Experience Replay", section 3.4.
    """
    priority = jnp.maximum(priority, jnp.finfo(priority.dtype).tiny)
    return (priority / priority.min(axis=-1, keepdims=True)) ** -importance


@known_names
def prioritized(
    *, exponent: Fraction = 0.6, importance: ScalarOrSchedule = 0.4, epsilon: Positive = 1e-6
) -> Prioritized:
    """For [`replay`][lerax_fx.replay]: windows in proportion to a power of their priority.

        P(i) = p_i^exponent / sum_k p_k^exponent,    p_i = |error_i| + epsilon
        weight_i = (N P(i))^-importance / max_j weight_j

    Schaul et al. 2016, "Prioritized Experience Replay", eq. 1 and sections 3.3 and 3.4:
    proportional prioritisation. Windows are drawn independently, with replacement; the
    largest weight is that of the batch. A window that was never drawn has the largest
    priority of all so far, at first 1.

    Weights come with [`Transitions`][lerax_fx.Transitions]; losses that take them report
    new priorities, as the metric `priority`, of shape `(batch_size,)`, and so can a stage of
    one's own. [`q_loss`][lerax_fx.q_loss] reports the absolute temporal difference,
    [`categorical_loss`][lerax_fx.categorical_loss] the Kullback-Leibler divergence (Hessel et
    al. 2018, "Rainbow"), [`quantile_loss`][lerax_fx.quantile_loss] the loss. Where that is not
    finite, the old priority stays. All batches of one update are drawn before it.

    **Arguments:**

    - `exponent`: in [0, 1]; 0 for all windows alike.
    - `importance`: in [0, 1], or an Optax schedule over the environment steps that were
      remembered; 1 corrects for the sampling in full.
    - `epsilon`: finite and above 0, so that nothing is left out for good.

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
