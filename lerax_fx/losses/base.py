"""Losses as weighted sums of terms that share one forward pass."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, final, get_origin, get_type_hints

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import (
    bind_hyperparameters,
    check_number,
    check_one_number,
    unchecked,
)
from lerax_fx._core.arrays import written
from lerax_fx._core.schedules import ScalarOrSchedule, scaled
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Interval, Key, Metrics, Scalar, Tree

D_contra = TypeVar("D_contra", contravariant=True)
Data = TypeVar("Data")
Evaluated = TypeVar("Evaluated")
P = ParamSpec("P")
Priority = Float[Array, "*batch"]
TermValue = Scalar | tuple[Scalar, Metrics] | tuple[Scalar, Metrics, Priority | None]


@final
class LossOutput(eqx.Module):
    """A loss of an agent on data.

    - `loss`: float, `()`.
    - `metrics`: `loss`, and the value of each term, unweighted, by its name.
    - `priority`: the new priority of each trajectory of the data, for a replay that samples by
      priorities; `None` for data without importance weights.
    """

    loss: Scalar
    metrics: Metrics
    priority: Priority | None = None


@final
class Term(eqx.Module):
    """One term of a loss.

    - `function`: `(evaluated, data, **hyperparameters) -> scalar`, or `(scalar, metrics)`, or
      `(scalar, metrics, priority)`.
    - `evaluate`: `(agent, data, key) -> evaluated`, the forward pass through the networks.
      Terms with the same one share it.
    """

    function: Callable[..., Any] = eqx.field(static=True)
    evaluate: Callable[[Any, Any, Any], Any] = eqx.field(static=True)
    hyperparameters: dict[str, Any]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def input_type(self) -> Any:
        """The annotated type of the second argument, the data; `Any` for none."""
        hints = get_type_hints(self.function)
        data = list(inspect.signature(self.function).parameters)[1:2]
        hint = hints.get(data[0], Any) if data else Any
        hint = get_origin(hint) or hint
        return hint if isinstance(hint, type) else Any


@final
class Loss(eqx.Module, Generic[D_contra]):
    """A weighted sum of terms. Losses can be added, subtracted and scaled.

        surrogate + 0.5 * value - 0.01 * entropy

    However many terms there are, each network is evaluated once, and differentiated once.
    Weights are hyperparameters: traced.
    """

    __array_ufunc__ = None  # else numpy would multiply a loss entry by entry

    terms: tuple[Term, ...]
    weights: tuple[ScalarOrSchedule, ...]

    @property
    def input_type(self) -> Any:
        """The type of data that all terms take; `Any` if none of them declares one."""
        return _most_specific(self.terms).input_type

    def __str__(self) -> str:
        return self.formula

    @property
    def formula(self) -> str:
        """The loss as a formula: `0.5 value_loss() - 0.01 entropy()`."""
        parts: list[str] = []
        for term, weight in zip(self.terms, self.weights, strict=True):
            settings = ", ".join(f"{k}={written(v)}" for k, v in term.hyperparameters.items())
            factor = "" if _is_one(weight) else f"{written(weight)} "
            parts.append(f"{factor}{term.name}({settings})")
        return " + ".join(parts).replace("+ -", "- ")

    @property
    def names(self) -> str:
        """The names of its terms, for errors: where it is traced, its numbers are not known."""
        return " + ".join(f"{term.name}()" for term in self.terms)

    def __call__(self, agent: Tree, data: D_contra, key: Key) -> tuple[Scalar, Metrics]:
        """The loss of an agent on data, and its metrics."""
        output = self.evaluate(agent, data, key)
        return output.loss, output.metrics

    def evaluate(self, agent: Tree, data: D_contra, key: Key) -> LossOutput:
        """The loss of an agent on data. The key is for what the forward passes draw; each of
        them gets its own.

        **Raises:** `WiringError` if a term is no scalar of a floating-point type, if two terms
        share a name, or if two of them set priorities.
        """
        evaluated: dict[Callable[..., Any], Any] = {}
        total = jnp.zeros(())
        metrics: Metrics = {}
        priorities: list[Priority] = []
        for term, weight in zip(self.terms, self.weights, strict=True):
            if term.evaluate not in evaluated:
                own_key = jax.random.fold_in(key, len(evaluated))
                evaluated[term.evaluate] = term.evaluate(agent, data, own_key)
            value = term.function(evaluated[term.evaluate], data, **term.hyperparameters)
            value, extra, priority = _three(value)
            _check_scalar(term.name, value)
            check_one_number(f"loss: weight of {term.name!r}", weight)
            total = total + weight * value
            metrics = _with(metrics, {term.name: value, **extra})
            priorities += [] if priority is None else [priority]
        return LossOutput(total, {"loss": total, **metrics}, _only(priorities))

    def __add__(self, other: "Loss[D_contra]") -> "Loss[D_contra]":
        if not isinstance(other, Loss):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            return NotImplemented
        _check_same_data(self.terms, other.terms)
        return Loss(self.terms + other.terms, self.weights + other.weights)

    def __mul__(self, weight: ScalarOrSchedule) -> "Loss[D_contra]":
        if isinstance(weight, Loss):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            return NotImplemented
        weight = check_number("loss: weight", weight, Interval(), schedule=True)
        return Loss(self.terms, tuple(scaled(weight, own) for own in self.weights))

    __rmul__ = __mul__

    def __neg__(self) -> "Loss[D_contra]":
        return -1.0 * self

    def __sub__(self, other: "Loss[D_contra]") -> "Loss[D_contra]":
        return self + -other


class LossFactory(Generic[P, Data]):
    """A function that was decorated with [`loss_term`][lerax_fx.loss_term].

    Called with its keyword arguments it makes a [`Loss`][]; the function itself is
    `.function`.
    """

    def __init__(self, function: Callable[..., Any], evaluate: Callable[[Any, Any, Any], Any]):
        self.function = function
        self.evaluate = evaluate
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Loss[Data]:
        """Make the loss. **Raises:** `HyperparameterError` for a bad or unknown argument."""
        bound = bind_hyperparameters(self.function.__name__, self.function, 2, args, kwargs)
        return Loss((Term(self.function, self.evaluate, bound),), (1.0,))


@unchecked
def loss_term(
    evaluate: Callable[[Any, Data, Key], Evaluated],
) -> Callable[[Callable[Concatenate[Evaluated, Data, P], TermValue]], LossFactory[P, Data]]:
    """Make a loss of a function of the networks' outputs and the data.

        @loss_term(forward)
        def entropy(evaluated: PolicyOutput, data: Estimates) -> Scalar: ...

        loss = ppo_loss() - 0.01 * entropy()

    `evaluate(agent, data, key)` is the forward pass through the networks; terms made with the
    same function share its result. A term returns a scalar, or a scalar and a dict of metrics.
    """

    @unchecked
    def decorate(
        function: Callable[Concatenate[Evaluated, Data, P], TermValue],
    ) -> LossFactory[P, Data]:
        return LossFactory(function, evaluate)

    return decorate


@final
class FunctionLoss(eqx.Module, Generic[D_contra]):
    """A function `(agent, data, key) -> scalar` as a loss; or one that returns `(scalar,
    metrics)`, or `(scalar, metrics, priority)`.
    """

    function: Callable[..., Any] = eqx.field(static=True)

    @property
    def input_type(self) -> Any:
        """The annotated type of the data; `Any` for none."""
        data = list(inspect.signature(self.function).parameters)[1]
        wanted = get_type_hints(self.function).get(data, Any)
        wanted = get_origin(wanted) or wanted
        return wanted if isinstance(wanted, type) else Any

    @property
    def formula(self) -> str:
        """The function's name, with brackets."""
        return f"{getattr(self.function, '__name__', type(self.function).__name__)}()"

    @property
    def names(self) -> str:
        """As a sum of terms has them: it is its only one."""
        return self.formula

    def __call__(self, agent: Tree, data: D_contra, key: Key) -> tuple[Scalar, Metrics]:
        """The loss of an agent on data, and its metrics."""
        output = self.evaluate(agent, data, key)
        return output.loss, output.metrics

    def evaluate(self, agent: Tree, data: D_contra, key: Key) -> LossOutput:
        """The loss of an agent on data.

        **Raises:** `WiringError` if the loss is no scalar of a floating-point type.
        """
        value, metrics, priority = _three(self.function(agent, data, key))
        _check_scalar(self.formula, value)
        return LossOutput(value, _with({"loss": value}, metrics), priority)


def loss_of(where: str, loss: Any) -> Loss[Any] | FunctionLoss[Any]:
    """A loss, or a function `(agent, data, key)` as one.

    **Raises:** `WiringError` for anything else, for instance a loss that was not called.
    """
    if isinstance(loss, Loss | FunctionLoss):
        return loss  # pyright: ignore[reportUnknownVariableType] -- of whatever data
    if callable(loss) and not isinstance(loss, LossFactory) and _takes_three(loss):
        return FunctionLoss(loss)
    raise WiringError(
        format_error(
            where,
            wanted="a Loss, or a function of (agent, data, key)",
            got=f"{getattr(loss, '__name__', type(loss).__name__)}",
            fix="Call the loss to make it, for instance fx.ppo_loss().",
        )
    )


def _takes_three(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None, None)
    except (TypeError, ValueError):
        return False
    return True


def _three(value: Any) -> tuple[Any, Metrics, Priority | None]:
    """What a term or a function returned: the scalar, metrics, priorities."""
    if not isinstance(value, tuple):
        return value, {}, None
    parts: tuple[Any, ...] = value
    return parts[0], parts[1], parts[2] if len(parts) > 2 else None


def _only(priorities: list[Priority]) -> Priority | None:
    if len(priorities) < 2:
        return priorities[0] if priorities else None
    raise WiringError(
        format_error(
            "loss: priority",
            wanted="one term that sets the priorities of the data",
            got=f"{len(priorities)}",
            fix="Minimize each by a stage of its own.",
        )
    )


def _is_one(weight: ScalarOrSchedule) -> bool:
    return isinstance(weight, float) and weight == 1.0


def _most_specific(terms: tuple[Term, ...]) -> Term:
    """The term that takes the most specific type of data."""
    chosen = terms[0]
    for term in terms[1:]:
        if chosen.input_type is Any or _takes(chosen, term.input_type):
            chosen = term
    return chosen


def _takes(term: Term, given: Any) -> bool:
    return term.input_type is Any or (given is not Any and issubclass(given, term.input_type))


def _check_same_data(terms: tuple[Term, ...], others: tuple[Term, ...]) -> None:
    one, other = _most_specific(terms), _most_specific(others)
    given, wanted = one.input_type, other.input_type
    if Any in (given, wanted) or _takes(one, wanted) or _takes(other, given):
        return
    raise WiringError(
        format_error(
            f"loss: {one.name} + {other.name}",
            wanted="terms that take the same data",
            got=f"{given.__name__} for {one.name!r} and {wanted.__name__} for {other.name!r}",
            fix="Minimize each by a stage of its own.",
        )
    )


def _check_scalar(name: str, value: Any) -> None:
    shape = jnp.shape(value) if isinstance(value, jax.Array) else ()
    if not isinstance(value, jax.Array):
        got = "None" if value is None else f"a {type(value).__name__}"
        fix = "Return what is computed of the agent's outputs, by jax.numpy."
    elif shape != ():
        got, fix = f"an array of shape {shape}", "Take the mean over the batch."
    elif not jnp.issubdtype(value.dtype, jnp.floating):
        got, fix = f"an array of {value.dtype}", "Return a float: an integer has no gradient."
    else:
        return
    raise WiringError(
        format_error(f"loss term {name!r}", wanted="a float scalar", got=got, fix=fix)
    )


def _with(metrics: Metrics, more: Metrics) -> Metrics:
    shared = sorted(set(metrics) & set(more))
    if shared:
        raise WiringError(
            format_error(
                "loss: metrics",
                wanted="terms with names of their own",
                got=f"{shared[0]!r} twice",
                fix="Sum each term once, with its weights added up.",
            )
        )
    return {**metrics, **more}


# Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement Learning",
# section 2.3: the mean alone would hide the one large error of a long window.
_OF_LARGEST = 0.9


def weighted_mean(
    losses: Float[Array, "*batch time"], weight: Float[Array, "*batch"] | None
) -> Scalar:
    """The mean of the losses, weighted by the importance weight of each window; `None` for 1."""
    return jnp.mean(losses if weight is None else weight[..., None] * losses)


def priorities(
    errors: Float[Array, "*batch time"], weight: Float[Array, "*batch"] | None
) -> Priority | None:
    """The priority of each window, for data with weights; else `None`.

    0.9 times the largest error and 0.1 times the mean; of one step, its error.
    """
    if weight is None:
        return None
    return _OF_LARGEST * errors.max(axis=-1) + (1 - _OF_LARGEST) * errors.mean(axis=-1)


def check_discrete_actions(where: str, action: Tree) -> None:
    """**Raises:** `WiringError` unless the actions are one array of integers."""
    leaves = jax.tree.leaves(action)
    if len(leaves) != 1 or not jnp.issubdtype(leaves[0].dtype, jnp.integer):
        raise WiringError(
            format_error(
                f"{where}: data: action",
                wanted="discrete actions: one array of integers",
                got=", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves),
                fix="For continuous actions use critics: fx.q_critic_loss().",
            )
        )
