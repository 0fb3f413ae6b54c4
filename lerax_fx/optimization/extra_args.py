"""What Optax's transformations want to know beside the gradient, and which of them are refused."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lerax_fx.errors import LeraxError, WiringError, explain
from lerax_fx.types import Scalar, Tree

_WHERE = "minimize: optimizer"
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def init_optimizer(optimizer: optax.GradientTransformation, params: Tree) -> Tree:
    """The state of an optimiser before its first update.

    **Raises:** `WiringError` for `optax.lookahead`, for differentially private optimisers, and
    for an optimiser that cannot be initialised with these parameters.
    """
    try:
        state = optimizer.init(params)
    except Exception as error:
        raise _failed("initialised with the agent's arrays", error) from error
    _check_supported(state)
    return (
        _with_measurements(optimizer, state, params) if _has(optax.MonitorState, state) else state
    )


def optimizer_update(
    optimizer: optax.GradientTransformation,
    gradient: Tree,
    state: Tree,
    params: Tree,
    value: Scalar,
    value_fn: Callable[[Tree], Scalar],
) -> tuple[Tree, Tree]:
    """`optimizer.update`, with the extra arguments that Optax's transformations know.

    These are `value`, `grad` and `value_fn` (line searches, `lbfgs`, `polyak_sgd`, `momo`,
    `reduce_on_plateau`), `obj_fn` (`sophia`) and `grad_fn` (`sam` in opaque mode); what is not
    used is not computed.

    **Raises:** `WiringError` if the optimiser fails, which says how.
    """

    def grad_fn(params: Tree, step: int) -> Tree:
        del step
        return jax.grad(value_fn)(params)

    # Line searches refuse any further argument that the objective does not name.
    def objective(params: Tree, obj_fn: Any = None, grad_fn: Any = None) -> Scalar:
        del obj_fn, grad_fn
        return value_fn(params)

    extra: dict[str, Any] = {}
    if _takes_extra_args(optimizer):
        extra = {"value": value, "grad": gradient, "value_fn": objective}
        extra |= {"obj_fn": value_fn, "grad_fn": grad_fn}
    while True:
        try:
            return optimizer.update(gradient, state, params, **extra)
        except LeraxError:
            raise
        except Exception as error:
            # Most take any keyword. Those that do not (sam, also within a chain) say which.
            unexpected = _UNEXPECTED.search(str(error)) if isinstance(error, TypeError) else None
            if unexpected is None or unexpected[1] not in extra:
                raise _failed("updated", error) from error
            del extra[unexpected[1]]


def _takes_extra_args(optimizer: optax.GradientTransformation) -> bool:
    if isinstance(optimizer, optax.GradientTransformationExtraArgs):
        return True
    # optax.MultiSteps gives on what it gets without saying so by its type.
    parameters = inspect.signature(optimizer.update).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _failed(what: str, error: Exception) -> WiringError:
    return WiringError(
        explain(
            _WHERE,
            wanted=f"an Optax transformation that can be {what}, with no arguments but updates, "
            "state, params, value, grad, value_fn, obj_fn and grad_fn",
            got=f"{type(error).__name__}: {error}",
            fix="Use another transformation, or put those that need more arguments outside of "
            "wrappers such as optax.flatten and optax.masked, which change the parameters alone.",
        )
    )


def _has(kind: type, state: Tree) -> bool:
    return bool(_found(kind, state))


def _found(kind: type, state: Tree) -> list[Any]:
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


def _check_supported(state: Tree) -> None:
    if _has(optax.LookaheadState, state):
        raise WiringError(
            explain(
                _WHERE,
                wanted="an optimiser of one set of parameters",
                got="optax.lookahead, which keeps two (fast and slow)",
                fix="Use the optimiser within it.",
            )
        )
    if _has(optax.contrib.DifferentiallyPrivateAggregateState, state):
        raise WiringError(
            explain(
                _WHERE,
                wanted="an optimiser of the gradient of the mean loss",
                got="a differentially private one, which wants a gradient for each example",
                fix="Clip the gradient of the mean instead: optax.clip_by_global_norm(...).",
            )
        )


def _with_measurements(optimizer: optax.GradientTransformation, state: Tree, params: Tree) -> Tree:
    """A state in which `optax.monitor` holds its measurements (NaN) from the start.

    Optax adds them in the first update, but a loop needs states of one structure.
    """

    def update(params: Tree) -> Tree:
        def value_fn(params: Tree) -> Scalar:
            return sum((jnp.sum(leaf) for leaf in jax.tree.leaves(params)), jnp.zeros(()))

        return optimizer_update(optimizer, params, state, params, value_fn(params), value_fn)[1]

    after = iter(_found(optax.MonitorState, jax.eval_shape(update, params)))

    def fill(node: Any) -> Any:
        if not isinstance(node, optax.MonitorState):
            return node
        return node._replace(measurements=jax.tree.map(_missing, next(after).measurements))

    return jax.tree.map(fill, state, is_leaf=lambda node: isinstance(node, optax.MonitorState))


def _missing(shape: Any) -> Any:
    missing = jnp.nan if jnp.issubdtype(shape.dtype, jnp.inexact) else 0
    return jnp.full(shape.shape, missing, shape.dtype)
