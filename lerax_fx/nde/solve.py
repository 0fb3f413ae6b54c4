"""Solutions of differential equations over intervals, and `nde_solve` as a stage."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arrays import spec
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx._core.wiring import register_producer
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.nde.equations import ODE, AbstractEquation
from lerax_fx.nde.observations import possible_length
from lerax_fx.nde.solvers import Method, OnFailure, check_interval, method
from lerax_fx.typing import Key, Tree


@final
class NDESolution(eqx.Module):
    """A solution of a differential equation over intervals, as
    [`nde_solve`][lerax_fx.nde.nde_solve] gives it.

    - `final`: the state after the last interval.
    - `states`: the state after each interval; the same as `final` for a single one.
    - `failed`: whether each interval failed.
    """

    final: Tree
    states: Tree
    failed: Bool[Array, "*time"]


def solve(
    equation: Any,
    state: Tree,
    dt: Any,
    *,
    t0: Any = 0.0,
    control: Any = None,
    resets: Bool[Array, " time"] | None = None,
    initial: Tree = None,
    key: Key | None = None,
    solver: Any = "heun",
    steps: int = 1,
    controller: Any = None,
    adjoint: Any = "store",
    on_failure: OnFailure = "hold",
    max_steps: int = 4096,
) -> NDESolution:
    """The solution of an ODE, a CDE or an SDE over one interval or one after the other.

    **Arguments:**

    - `equation`: an [`ODE`][lerax_fx.nde.ODE], [`CDE`][lerax_fx.nde.CDE] or
      [`SDE`][lerax_fx.nde.SDE]; a function `(t, y) -> dy/dt` is taken for an ODE.
    - `state`: before the first interval, a PyTree of float arrays.
    - `dt`: the length of the interval, `()`, or of each interval, `(time,)`; at least 0, and
      taken in the precision of the state. An
      interval of length 0 leaves the state of an ODE or an SDE as it is.
    - `t0`: the time at which the first interval begins.
    - `control`: for a CDE, what the control moves by in the interval, `(channels,)`, or in
      each, `(time, channels)`; on a straight line.
    - `resets`: whether an episode begins before each interval: then the state becomes
      `initial`, and the time 0.
    - `initial`: a state like `state`, needed with `resets`.
    - `key`: for an SDE, of its Brownian motion.
    - `solver`: `"euler"`, `"heun"`, `"midpoint"`, `"ralston"`, `"bosh3"`, `"rk4"`, `"tsit5"`,
      `"dopri5"`, `"dopri8"`, or any of diffrax's.
    - `steps`: how many equal steps an interval is cut into; unused with a `controller` of
      another kind.
    - `controller`: one of diffrax's; None for constant steps. Its lengths (`dtmin`, ...) are
      in units of the interval.
    - `adjoint`: `"store"` keeps for the backward pass what the stages computed: the fastest.
      `"recompute"` keeps only the state before each interval, and computes it again. One of
      diffrax's adjoints is used as it is.
    - `on_failure`: what becomes of an interval whose `dt` is below 0 or NaN, whose state would
      not be finite, or that diffrax gives up on. `"hold"`: the state stays as it was, and
      `failed` tells; what is not finite in gradients is 0. `"raise"`: an error, also from
      compiled code. `"propagate"`: NaN.
    - `max_steps`: at most so many steps are tried in an interval, where they are not constant.

    Explicit Runge-Kutta methods with constant steps, and without one of diffrax's adjoints,
    are written out stage by stage; all else goes through `diffrax.diffeqsolve`. `"hold"`
    defines its own reverse mode: for forward mode, take `"propagate"`.

    **Raises:** `HyperparameterError` for an unknown option, a missing or superfluous argument,
    a state that is not of floats, a control or resets of another length than `dt`, and for a
    `dt` that is below 0 or NaN, if it is known while tracing.
    """
    how = method(
        "nde_solve",
        solver=solver,
        steps=steps,
        controller=controller,
        adjoint=adjoint,
        on_failure=on_failure,
        max_steps=max_steps,
    )
    _check_dt(dt)
    equation = equation if isinstance(equation, AbstractEquation) else ODE(equation)
    return solve_with(
        how,
        equation,
        state,
        dt,
        t0=t0,
        control=control,
        resets=resets,
        initial=initial,
        key=key,
    )


def solve_with(
    how: Method,
    equation: AbstractEquation,
    state: Tree,
    dt: Any,
    *,
    t0: Any = 0.0,
    control: Any = None,
    resets: Bool[Array, " time"] | None = None,
    initial: Tree = None,
    key: Key | None = None,
) -> NDESolution:
    """As [`solve`][lerax_fx.nde.solve.solve], by a `Method`."""
    check_interval(equation, control, key)
    dt = jnp.asarray(dt, _real_dtype(state))
    _check_length("control", control, dt, axes=1)
    equation = how.guarded(equation)
    if dt.ndim == 0:
        if resets is not None or initial is not None:
            raise HyperparameterError(
                format_error(
                    "nde_solve: resets, initial",
                    wanted="neither, for one interval",
                    got="at least one of them",
                    fix="Give a dt of shape (time,), or begin with the state that you mean.",
                )
            )
        after, failed = how.interval(equation, state, t=t0, dt=dt, control=control, key=key)
        return NDESolution(after, after, failed)
    if resets is not None and initial is None:
        raise HyperparameterError(
            format_error(
                "nde_solve: initial",
                wanted="the state that an episode begins with, since there are resets",
                got="None",
                fix="Pass initial=..., of the structure of state.",
            )
        )
    _check_length("resets", resets, dt, axes=0)
    _check_initial(state, initial)

    def advance(y: Tree, inputs: Any) -> tuple[Tree, Any]:
        t, dt, moved, reset, key = inputs
        if reset is not None:
            y = jax.tree.map(lambda a, b: jnp.where(reset, a, b), initial, y)
        y, failed = how.interval(equation, y, t=t, dt=dt, control=moved, key=key)
        return y, (y, failed)

    keys = None if key is None else jax.random.split(key, len(dt))
    inputs = (_begins(t0, dt, resets), dt, control, resets, keys)
    last, (states, failed) = jax.lax.scan(advance, state, inputs)
    return NDESolution(last, states, failed)


def _begins(
    t0: Any, dt: Float[Array, " time"], resets: Bool[Array, " time"] | None
) -> Float[Array, " time"]:
    """The time at which each interval begins, since the episode's start."""
    lengths = possible_length(dt)
    elapsed = jnp.concatenate([jnp.zeros_like(dt[:1]), jnp.cumsum(lengths)[:-1]])
    if resets is None:
        return t0 + elapsed
    index = jnp.where(resets, jnp.arange(len(dt)), -1)
    latest = jax.lax.cummax(index)
    return jnp.where(latest < 0, t0 + elapsed, elapsed - elapsed[jnp.maximum(latest, 0)])


def _real_dtype(state: Tree) -> Any:
    """Of a time that is as precise as the state: what times it is added to a state has to be
    of the state's own dtype.
    """
    dtypes = {jnp.result_type(leaf) for leaf in jax.tree.leaves(state)}
    if all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
        real = {jnp.finfo(dtype).dtype for dtype in dtypes}
        if len(real) == 1:
            return real.pop()
    raise HyperparameterError(
        format_error(
            "nde_solve: state",
            wanted="arrays of floats, all of one precision",
            got=", ".join(sorted(map(str, dtypes))) or "no arrays",
            fix="Convert them, for instance by jnp.asarray(state, float).",
        )
    )


def _check_initial(state: Tree, initial: Tree) -> None:
    def kind(tree: Tree) -> str:
        return f"{jax.tree.structure(tree)} of {spec(jax.eval_shape(lambda: tree))}"

    if initial is not None and kind(initial) != kind(state):
        raise HyperparameterError(
            format_error(
                "nde_solve: initial",
                wanted=f"a state like `state`, {kind(state)}",
                got=kind(initial),
                fix="Give both the same structure, shapes and dtypes.",
            )
        )


def _check_length(name: str, value: Any, dt: Float[Array, "*time"], *, axes: int) -> None:
    """Whether something is given for each interval, `axes` axes of it."""
    shape = np.shape(value)
    if value is None or (len(shape) == dt.ndim + axes and shape[: dt.ndim] == dt.shape):
        return
    raise HyperparameterError(
        format_error(
            f"nde_solve: {name}",
            wanted=f"shape ({', '.join([*map(str, dt.shape), *['channels'] * axes])}), for a dt of "
            f"shape {dt.shape}",
            got=f"shape {shape}",
            fix="Give one for each interval.",
        )
    )


def _check_dt(dt: Any) -> None:
    if isinstance(dt, Tracer):
        return
    array = np.asarray(dt)
    if array.ndim > 1 or not bool(np.all((array >= 0) & np.isfinite(array))):
        raise HyperparameterError(
            format_error(
                "nde_solve: dt",
                wanted="finite lengths of at least 0, of shape () or (time,)",
                got=f"{dt}",
                fix="Pass the time from each state to the next; vmap over anything else.",
            )
        )


register_producer("NDESolution", "fx.nde.nde_solve(...)")


@final
class Intervals(eqx.Module):
    """The intervals to solve a differential equation over: a trajectory of them, or a batch.

    - `state`: before the first interval.
    - `dt`: the length of each interval, at least 0.
    - `control`: for a CDE, what the control moves by in each.
    - `resets`: whether the state becomes `initial` before each.
    """

    state: Tree
    dt: Float[Array, "*batch time"]
    control: Float[Array, "*batch time channels"] | None = None
    resets: Bool[Array, "*batch time"] | None = None
    initial: Tree = None


@final
class NDESolve(Transform[Intervals, NDESolution]):
    """See [`nde_solve`][lerax_fx.nde.nde_solve]."""

    method: Method
    equation: Callable[[Any], Any] = eqx.field(static=True)

    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        del agent, data, key
        return ()

    def update(self, agent: Tree, state: Tree, data: Intervals, key: Key) -> Step[NDESolution]:
        chosen = self.equation(agent)
        equation = chosen if isinstance(chosen, AbstractEquation) else ODE(chosen)

        data = dataclasses.replace(data, dt=jnp.asarray(data.dt))

        def one(data: Intervals, key: Key) -> NDESolution:
            return solve_with(
                self.method,
                equation,
                data.state,
                data.dt,
                control=data.control,
                resets=data.resets,
                initial=data.initial,
                key=key,
            )

        batch = data.dt.shape[:-1]
        for _ in batch:
            one = jax.vmap(one)
        solution = one(data, jax.random.split(key, batch) if batch else key)
        return Step(agent, state, solution, {"failures": jnp.sum(solution.failed)})


@final
class NDESolveFactory:
    """`nde_solve`: called, it makes a stage; `.function` is the plain function."""

    __name__ = "nde_solve"
    function = staticmethod(solve)

    def __call__(
        self,
        *,
        equation: Callable[[Any], Any] = lambda agent: agent,
        solver: Any = "heun",
        steps: int = 1,
        controller: Any = None,
        adjoint: Any = "store",
        on_failure: OnFailure = "hold",
        max_steps: int = 4096,
    ) -> NDESolve:
        """A stage that solves a differential equation over trajectories of intervals.

        `nde_solve.function(equation, state, dt, ...)` is the plain function, for one interval
        or one trajectory; it explains the arguments:
        [`solve`][lerax_fx.nde.solve.solve].

        **Arguments:**

        - `equation`: picks the equation (or a vector field, for an ODE) from the agent;
          by default, the agent is the equation.

        Metrics: `failures`, how many intervals failed.

        **Raises:** `HyperparameterError` for an unknown option.
        """
        how = method(
            "nde_solve",
            solver=solver,
            steps=steps,
            controller=controller,
            adjoint=adjoint,
            on_failure=on_failure,
            max_steps=max_steps,
        )
        return NDESolve(how, equation)


nde_solve = NDESolveFactory()
"""See [`NDESolveFactory`][lerax_fx.nde.solve.NDESolveFactory]."""
