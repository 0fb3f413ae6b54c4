"""Differential equations as a stage."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx._core.wiring import provided_by
from lerax_fx.nde.equations import ODE, AbstractEquation
from lerax_fx.nde.failure import OnFailure
from lerax_fx.nde.method import Method, method
from lerax_fx.nde.solve import NDESolution, solve, solve_with
from lerax_fx.types import Key, Tree

provided_by("NDESolution", "fx.nde_solve(...)")


@final
class Intervals(eqx.Module):
    """What to solve a differential equation over: a trajectory, or a batch of them.

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
    """See [`nde_solve`][lerax_fx.nde_solve]."""

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
"""See [`NDESolveFactory`][lerax_fx.nde.stage.NDESolveFactory]."""
