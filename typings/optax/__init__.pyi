"""What lerax_fx and its recipes use of Optax, with types: numbers may be traced."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array
from jax.typing import ArrayLike

from . import contrib as contrib

Schedule = Callable[[Any], Any]
Number = ArrayLike | Callable[[Any], Any]

class GradientTransformation(NamedTuple):
    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]

class GradientTransformationExtraArgs(GradientTransformation): ...

class LookaheadState(NamedTuple):
    fast_state: Any
    steps_since_sync: Any

class MonitorState(NamedTuple):
    measurements: dict[str, Any]
    measure_states: tuple[Any, ...]

def apply_updates(params: Any, updates: Any) -> Any: ...
def chain(*transformations: GradientTransformation) -> GradientTransformation: ...
def flatten(inner: GradientTransformation) -> GradientTransformation: ...
def clip_by_global_norm(max_norm: ArrayLike) -> GradientTransformation: ...
def sgd(
    learning_rate: Number, momentum: ArrayLike | None = None, nesterov: bool = False
) -> GradientTransformation: ...
def adam(
    learning_rate: Number,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> GradientTransformation: ...
def radam(
    learning_rate: Number,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    threshold: ArrayLike = 5.0,
) -> GradientTransformation: ...
def linear_schedule(
    init_value: ArrayLike, end_value: ArrayLike, transition_steps: int, transition_begin: int = 0
) -> Schedule: ...
def periodic_update(
    new_tensors: Any, old_tensors: Any, steps: Array, update_period: int
) -> Any: ...
def incremental_update(new_tensors: Any, old_tensors: Any, step_size: ArrayLike) -> Any: ...
def global_norm(updates: Any) -> Array: ...
