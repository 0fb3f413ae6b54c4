"""Gradient steps on a loss, optimisers and learning-rate schedules."""

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import ArrayLike, ScalarLike

from lerax_fx._core.arguments import check_count, check_number, declared_intervals, suggest_keywords
from lerax_fx._core.arrays import written
from lerax_fx._core.calls import check_call
from lerax_fx._core.schedules import EvaluatesSchedules, Schedule
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.packing import replace_part, select_trained
from lerax_fx.errors import LeraxError, WiringError, format_error
from lerax_fx.losses.base import FunctionLoss, Loss, loss_of
from lerax_fx.typing import Key, Metrics, NonNegative, Scalar, Tree


@final
class Anneal(Schedule):
    """See [`anneal`][lerax_fx.anneal]."""

    value: ScalarLike
    num_updates: int = eqx.field(static=True)
    steps_per_update: int = eqx.field(static=True)

    def __call__(self, count: ArrayLike) -> ScalarLike:
        """The value after `count` gradient steps; 0 once the planned updates are over."""
        updates = jnp.floor_divide(count, self.steps_per_update)
        return self.value * jnp.maximum(1.0 - updates / self.num_updates, 0.0)


@suggest_keywords
def anneal(value: NonNegative, *, num_updates: int, steps_per_update: int = 1) -> Anneal:
    """Linear decay from `value` to 0 over the updates of a run.

    Optax counts gradient steps, of which one update of an algorithm makes
    `steps_per_update`: epochs times minibatches for PPO. Within an update the value stays,
    as in PPO's implementations (Huang et al. 2022, detail 4). A run that goes on past
    `num_updates` goes on at 0.

        optax.adam(anneal(2.5e-4, num_updates=976, steps_per_update=16))

    **Raises:** `HyperparameterError` for a negative value or a count below 1.
    """
    interval = declared_intervals(anneal)["value"]
    return Anneal(
        check_number("anneal: value", value, interval),
        check_count("anneal: num_updates", num_updates),
        check_count("anneal: steps_per_update", steps_per_update),
    )


_WHERE = "minimize: optimizer"
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def init_optimizer(optimizer: optax.GradientTransformation, params: Tree) -> Tree:
    """Initialise an optimiser's state.

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
        format_error(
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
            format_error(
                _WHERE,
                wanted="an optimiser of one set of parameters",
                got="optax.lookahead, which keeps two (fast and slow)",
                fix="Use the optimiser within it.",
            )
        )
    if _has(optax.contrib.DifferentiallyPrivateAggregateState, state):
        raise WiringError(
            format_error(
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


# Transformations that act on each number by itself, or on the norm of all of them: on one vector
# of all parameters they do the same.
_ELEMENTWISE: Final = frozenset(
    {
        optax.adabelief,
        optax.adagrad,
        optax.adam,
        optax.adamax,
        optax.amsgrad,
        optax.chain,
        optax.clip,
        optax.clip_by_global_norm,
        optax.nadam,
        optax.radam,
        optax.rmsprop,
        optax.scale,
        optax.scale_by_adam,
        optax.scale_by_learning_rate,
        optax.scale_by_radam,
        optax.scale_by_rms,
        optax.scale_by_schedule,
        optax.sgd,
        optax.trace,
    }
)


@final
class Optimizer(EvaluatesSchedules):
    """See [`optimizer`][lerax_fx.optimizer]."""

    function: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def transformation(self) -> optax.GradientTransformation:
        """The Optax gradient transformation, made with the current values."""
        args = [_made(value) for value in self.args]
        kwargs = {name: _made(value) for name, value in self.kwargs.items()}
        return self.function(*args, **kwargs)

    @property
    def elementwise(self) -> bool:
        """Whether it is known to act elementwise, so that it does the same on one flat vector."""
        parts = (*self.args, *self.kwargs.values())
        return self.function in _ELEMENTWISE and all(
            part.elementwise if isinstance(part, Optimizer) else not callable(part)
            for part in parts
            if not isinstance(part, Schedule)
        )

    def __str__(self) -> str:
        parts = [written(value) for value in self.args]
        parts += [f"{name}={written(value)}" for name, value in self.kwargs.items()]
        return f"{self.function.__name__}({' '.join(parts)})"


def optimizer(
    function: Callable[..., optax.GradientTransformation], *args: Any, **kwargs: Any
) -> Optimizer:
    """An Optax optimiser whose floats are hyperparameters.

        optimizer(optax.adam, learning_rate=2.5e-4)
        clip = optimizer(optax.clip_by_global_norm, 0.5)
        optimizer(optax.chain, clip, optimizer(optax.adam, 1e-3))

    It is made within the traced program: a new learning rate costs no compilation, `vmap` runs
    over it, gradients reach it, and two optimisers built by the same code share one program.
    A plain `optax.adam(2.5e-4)` is taken by [`minimize`][lerax_fx.minimize] as well: its numbers
    are in closures, so it is structure, and each one that is made is compiled anew.

    **Arguments:**

    - `function`: of Optax's functions that make a gradient transformation, or one like them.
    - `args`, `kwargs`: what to call it with: numbers, schedules, other `optimizer`s. Ints, bools
      and functions are structure. A schedule counts gradient steps, as in Optax.

    **Raises:** `WiringError` if `function` cannot be called, `HyperparameterError` if not with
    these arguments.
    """
    if callable(function) and not isinstance(function, optax.GradientTransformation):
        check_call("optimizer", function, args, kwargs)
        return Optimizer(function, args, kwargs)
    raise WiringError(
        format_error(
            "optimizer: function",
            wanted="a function of Optax that makes an optimiser",
            got=f"{type(function).__name__}",
            fix="Write fx.optimizer(optax.adam, learning_rate=3e-4).",
        )
    )


def transformation_of(value: Tree) -> optax.GradientTransformation:
    """The Optax gradient transformation of an optimiser of either kind."""
    return value.transformation if isinstance(value, Optimizer) else value


def _made(value: Any) -> Any:
    return value.transformation if isinstance(value, Optimizer) else value


D = TypeVar("D")


@final
class Minimize(Transform[D, D]):
    """See [`minimize`][lerax_fx.minimize]."""

    loss: Loss[D] | FunctionLoss[D]
    optimizer: Optimizer | optax.GradientTransformation
    part: tuple[str, ...] = eqx.field(static=True)

    @property
    def types(self) -> tuple[Any, Any]:
        return self.loss.input_type, self.loss.input_type

    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        del data, key
        trained = self._split(agent)[0]
        return init_optimizer(self._transformation(trained), trained)

    def update(self, agent: Tree, state: Tree, data: D, key: Key) -> Step[D]:
        trained, fixed = self._split(agent)

        differentiated: list[bool] = []

        def objective(trained: Tree) -> tuple[Scalar, tuple[Metrics, Any]]:
            output = self.loss.evaluate(self._joined(agent, trained, fixed), data, key)
            aux = output.metrics, output.priority
            return _noting_derivatives(output.loss, differentiated), aux

        (value, (metrics, priority)), gradient = jax.value_and_grad(objective, has_aux=True)(
            trained
        )
        if not differentiated:
            raise WiringError(
                format_error(
                    "minimize: loss",
                    wanted="a loss that depends on the arrays that are trained",
                    got=f"{self.loss.names}, which has no gradient with respect to them",
                    fix="Compute it of the agent's outputs without stop_gradient, or name the "
                    "`part` that it depends on.",
                )
            )
        updates, state = optimizer_update(
            self._transformation(trained),
            gradient,
            state,
            trained,
            value,
            lambda trained: objective(trained)[0],
        )
        trained = optax.apply_updates(trained, updates)
        out = data if priority is None else _with_priority(data, priority)
        return Step(self._joined(agent, trained, fixed), state, out, metrics)

    def _transformation(self, trained: Tree) -> optax.GradientTransformation:
        """The Optax transformation, applied to one flat vector of all parameters where that is the
        same: a few operations instead of dozens.
        """
        transformation = transformation_of(self.optimizer)
        elementwise = isinstance(self.optimizer, Optimizer) and self.optimizer.elementwise
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(trained)}
        return optax.flatten(transformation) if elementwise and len(dtypes) == 1 else transformation

    def _split(self, agent: Tree) -> tuple[Tree, Tree]:
        """The trainable arrays of the part that is trained, and the rest of that part."""
        part = self._part(agent)
        trained, fixed = select_trained(part, eqx.is_inexact_array)
        if not jax.tree.leaves(trained):
            raise WiringError(
                format_error(
                    "minimize: part",
                    wanted="a part of the agent that holds floating-point arrays",
                    got=f"{', '.join(self.part) or 'an agent'} without any",
                    fix="Name a part with parameters, or pass an agent that has some.",
                )
            )
        return trained, fixed

    def _part(self, agent: Any) -> Any:
        """The agent, or a tuple of what `part` names of it."""
        return tuple(_at(agent, path) for path in self.part) if self.part else agent

    def _joined(self, agent: Tree, trained: Tree, fixed: Tree) -> Tree:
        part = eqx.combine(trained, fixed)
        return replace_part(agent, self._part, part) if self.part else part


def _with_priority(data: Any, priority: Any) -> Any:
    if hasattr(data, "priority"):
        return dataclasses.replace(data, priority=priority)
    raise WiringError(
        format_error(
            "minimize: loss",
            wanted="data with a field `priority`, for the priorities that the loss gives",
            got=f"a {type(data).__name__}",
            fix="Add a field `priority: Array | None = None` to the type, or return the loss "
            "without priorities.",
        )
    )


def _at(agent: Any, path: str) -> Any:
    """The part of an agent at a path of fields, such as `"model/field"`."""
    part = agent
    for name in path.split("/"):
        method = isinstance(part, eqx.Module) and callable(getattr(type(part), name, None))
        if method or not hasattr(part, name):
            raise WiringError(
                format_error(
                    "minimize: part",
                    wanted=f"a field of the agent, or a path of fields: {path!r}",
                    got=f"a {type(part).__name__} "
                    + (f"with a method {name!r}" if method else f"without {name!r}"),
                    fix="Name a field that the agent has.",
                )
            )
        part = getattr(part, name)
    return part


def _noting_derivatives(value: Scalar, differentiated: list[bool]) -> Scalar:
    """`value`; notes whether JAX asks for its derivative, which it does not of a constant.

    It adds nothing to the program.
    """

    @jax.custom_jvp
    def same(value: Scalar) -> Scalar:
        return value

    def derivative(primals: tuple[Scalar], tangents: tuple[Scalar]) -> tuple[Scalar, Scalar]:
        differentiated.append(True)
        return primals[0], tangents[0]

    same.defjvp(derivative)
    return same(value)


@suggest_keywords
def minimize(
    loss: Loss[D] | Callable[[Any, D, Key], Scalar | tuple[Scalar, Metrics]],
    optimizer: Optimizer | optax.GradientTransformation,
    *,
    part: str | tuple[str, ...] = (),
) -> Minimize[D]:
    """One gradient step of `optimizer` on `loss`; the data is given on unchanged.

        minimize(ppo_loss(), optimizer(optax.adam, 2.5e-4))
        minimize(q_critic_loss(), optimizer(optax.adam, 1e-3), part="critic")

    Optimisers that want the loss (`polyak_sgd`, `momo`, `reduce_on_plateau`), search along a line
    (`lbfgs`), or take gradients themselves (`sophia`, `sam`) get `value`, `grad` and `value_fn`,
    which is the loss on the same data. Refused are `lookahead` and differentially private ones.

    **Arguments:**

    - `loss`: a [`Loss`][lerax_fx.losses.Loss], or a function `(agent, data, key) -> scalar`, or the
      scalar and a dict of metrics. The key is for what the agent or the loss draws.
    - `optimizer`: an [`optimizer`][lerax_fx.optimizer], whose floats are hyperparameters, or an
      Optax gradient transformation, which is structure.
    - `part`: the part of the agent that is trained, by default all of it: the name of a field,
      a path of fields such as `"model/field"`, or a tuple of these. Only floating-point
      arrays are trained, and none in a [`NonTrainable`][lerax_fx.agents.NonTrainable].

    Metrics: `loss`, and the value of each of its terms, unweighted, by name; or the
    metrics of a function.

    **Raises:** `WiringError` if `loss` or `optimizer` is something else, and, when traced,
    if `part` names nothing that can be trained, if the loss has no gradient with respect to
    it (as far as JAX knows without computing it), or if the optimiser needs what it does not
    get.
    """
    checked = loss_of("minimize: loss", loss)
    if not isinstance(optimizer, Optimizer | optax.GradientTransformation):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
        raise WiringError(
            format_error(
                "minimize: optimizer",
                wanted="an Optax gradient transformation",
                got=f"{optimizer!r}",
                fix="Pass for instance fx.optimizer(optax.adam, 3e-4).",
            )
        )
    return Minimize(checked, optimizer, _checked_part(part))


def _checked_part(part: Any) -> tuple[str, ...]:
    paths: Any = (part,) if isinstance(part, str) else part
    if isinstance(paths, tuple | list) and all(isinstance(path, str) for path in paths):
        nested = [
            (one, other)
            for one, other in itertools.permutations(paths, 2)
            if f"{other}/".startswith(f"{one}/")
        ]
        if not nested:
            return tuple(paths)
        one, other = nested[0]
        got = f"{one!r} twice" if one == other else f"{other!r}, which is in {one!r}"
    else:
        got = f"{part!r}"
    raise WiringError(
        format_error(
            "minimize: part",
            wanted="a field of the agent, a path of fields, or a tuple of these, each once",
            got=got,
            fix='Pass for instance part="critic", or part=("actor", "critic").',
        )
    )
