"""Losses as weighted sums of terms that share one forward pass."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, final, get_origin, get_type_hints

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import bind_hyperparameters, unchecked
from lerax_fx._core.arrays import written
from lerax_fx._core.schedules import ScalarOrSchedule, as_schedule, scaled
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Key, Metrics, Scalar, Tree

D_contra = TypeVar("D_contra", contravariant=True)
Data = TypeVar("Data")
Evaluated = TypeVar("Evaluated")
P = ParamSpec("P")
TermValue = Scalar | tuple[Scalar, Metrics]


@final
class Term(eqx.Module):
    """One term of a loss.

    - `function`: `(evaluated, data, **hyperparameters) -> scalar`, or the scalar with
      metrics.
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
        """The type that the second argument, the data, is annotated with; `Any` for none."""
        hints = get_type_hints(self.function)
        data = list(inspect.signature(self.function).parameters)[1:2]
        hint = hints.get(data[0], Any) if data else Any
        hint = get_origin(hint) or hint
        return hint if isinstance(hint, type) else Any


@final
class Loss(eqx.Module, Generic[D_contra]):
    """A weighted sum of terms, itself to be added, subtracted and scaled.

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
        """The loss as one would write it: `0.5 value_loss() - 0.01 entropy()`."""
        parts: list[str] = []
        for term, weight in zip(self.terms, self.weights, strict=True):
            settings = ", ".join(f"{k}={written(v)}" for k, v in term.hyperparameters.items())
            factor = "" if _is_one(weight) else f"{written(weight)} "
            parts.append(f"{factor}{term.name}({settings})")
        return " + ".join(parts).replace("+ -", "- ")

    def __call__(self, agent: Tree, data: D_contra, key: Key) -> tuple[Scalar, Metrics]:
        """The loss of an agent on data, and each term's value, unweighted, by its name. The key
        is for what the forward passes draw; each of them gets its own.

        **Raises:** `WiringError` if a term is no scalar of a floating-point type, or if two
        terms share a name.
        """
        evaluated: dict[Callable[..., Any], Any] = {}
        total = jnp.zeros(())
        metrics: Metrics = {}
        for term, weight in zip(self.terms, self.weights, strict=True):
            if term.evaluate not in evaluated:
                own_key = jax.random.fold_in(key, len(evaluated))
                evaluated[term.evaluate] = term.evaluate(agent, data, own_key)
            value = term.function(evaluated[term.evaluate], data, **term.hyperparameters)
            value, extra = value if isinstance(value, tuple) else (value, {})
            _check_scalar(term.name, value)
            total = total + weight * value
            metrics = _with(metrics, {term.name: value, **extra})
        return total, {"loss": total, **metrics}

    def __add__(self, other: "Loss[D_contra]") -> "Loss[D_contra]":
        if not isinstance(other, Loss):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            return NotImplemented
        _check_same_data(self.terms, other.terms)
        return Loss(self.terms + other.terms, self.weights + other.weights)

    def __mul__(self, weight: ScalarOrSchedule) -> "Loss[D_contra]":
        if isinstance(weight, Loss):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            return NotImplemented
        # An int would be structure; a weight is a number to be traced.
        weight = float(weight) if isinstance(weight, int) else weight
        weight = as_schedule(weight) if callable(weight) else weight
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
    """Make a loss of a function of what the networks gave, and the data.

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
    """A function `(agent, data, key) -> scalar`, or the scalar with metrics, as a loss."""

    function: Callable[..., Any] = eqx.field(static=True)

    @property
    def input_type(self) -> Any:
        """The type of data that the function says it wants, `Any` if it does not say."""
        data = list(inspect.signature(self.function).parameters)[1]
        wanted = get_type_hints(self.function).get(data, Any)
        wanted = get_origin(wanted) or wanted
        return wanted if isinstance(wanted, type) else Any

    @property
    def formula(self) -> str:
        """The function's name, with brackets."""
        return f"{getattr(self.function, '__name__', type(self.function).__name__)}()"

    def __call__(self, agent: Tree, data: D_contra, key: Key) -> tuple[Scalar, Metrics]:
        """The loss of an agent on data, and the metrics, `loss` among them.

        **Raises:** `WiringError` if the loss is no scalar.
        """
        value = self.function(agent, data, key)
        value, metrics = value if isinstance(value, tuple) else (value, {})
        _check_scalar(self.formula, value)
        return value, _with({"loss": value}, metrics)


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


def _is_one(weight: ScalarOrSchedule) -> bool:
    return isinstance(weight, float) and weight == 1.0


def _most_specific(terms: tuple[Term, ...]) -> Term:
    """The term whose data the others take as well."""
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
    """The mean of the losses, each times the weight of its window; `None` for 1."""
    return jnp.mean(losses if weight is None else weight[..., None] * losses)


def priorities(
    errors: Float[Array, "*batch time"], weight: Float[Array, "*batch"] | None
) -> Metrics:
    """The metric `priority` of each window, for data with weights; else nothing.

    0.9 times the largest error and 0.1 times the mean; of one step, its error.
    """
    if weight is None:
        return {}
    mixed = _OF_LARGEST * errors.max(axis=-1) + (1 - _OF_LARGEST) * errors.mean(axis=-1)
    return {"priority": mixed}


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
