"""Gradient steps on a loss."""

from collections.abc import Callable
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import optax

from lerax_fx.agents.packed import with_part
from lerax_fx.core.arguments import known_names
from lerax_fx.core.transform import Step, Transform
from lerax_fx.errors import WiringError, explain
from lerax_fx.losses.loss import Loss
from lerax_fx.optimization.extra_args import init_optimizer, optimizer_update
from lerax_fx.types import Key, Metrics, Scalar, Tree

D = TypeVar("D")


def whole_agent(agent: Tree) -> Tree:
    """The default of `where`: every floating-point array of the agent is trained."""
    return agent


@final
class Minimize(Transform[D, D]):
    """See [`minimize`][lerax_fx.minimize]."""

    loss: Loss[D]
    optimizer: optax.GradientTransformation
    where: Callable[[Any], Any] = eqx.field(static=True)

    @property
    def draws(self) -> int:
        return 0

    @property
    def input_type(self) -> Any:
        return self.loss.input_type

    @property
    def output_type(self) -> Any:
        return self.loss.input_type

    def init(self, agent: Tree, key: Key) -> Tree:
        del key
        return init_optimizer(self.optimizer, self._split(agent)[0])

    def update(self, agent: Tree, state: Tree, data: D, key: Key) -> Step[D]:
        del key
        trained, fixed = self._split(agent)

        differentiated: list[bool] = []

        def objective(trained: Tree) -> tuple[Scalar, Metrics]:
            loss, metrics = self.loss(self._joined(agent, trained, fixed), data)
            return _noting_derivatives(loss, differentiated), metrics

        (value, metrics), gradient = jax.value_and_grad(objective, has_aux=True)(trained)
        if not differentiated:
            raise WiringError(
                explain(
                    "minimize: loss",
                    wanted="a loss that depends on the arrays that are trained",
                    got=f"{self.loss.formula}, which has no gradient with respect to them",
                    fix="Compute it of the agent's outputs without stop_gradient, or let `where` "
                    "pick the part that it depends on.",
                )
            )
        updates, state = optimizer_update(
            self.optimizer, gradient, state, trained, value, lambda trained: objective(trained)[0]
        )
        trained = optax.apply_updates(trained, updates)
        return Step(self._joined(agent, trained, fixed), state, data, metrics)

    def _split(self, agent: Tree) -> tuple[Tree, Tree]:
        """The arrays that are trained, and the rest of the part that `where` picks."""
        try:
            part = self.where(agent)
        except AttributeError as error:
            raise WiringError(
                explain(
                    "minimize: where",
                    wanted="a function that picks a part of the agent",
                    got=f"{error}",
                    fix="Pick a field that the agent has.",
                )
            ) from error
        trained, fixed = eqx.partition(part, eqx.is_inexact_array)
        if not jax.tree.leaves(trained):
            raise WiringError(
                explain(
                    "minimize: where",
                    wanted="a part of the agent that holds floating-point arrays",
                    got=f"a {type(part).__name__} without any",
                    fix="Pick a part with parameters, or pass an agent that has some.",
                )
            )
        return trained, fixed

    def _joined(self, agent: Tree, trained: Tree, fixed: Tree) -> Tree:
        part = eqx.combine(trained, fixed)
        return part if self.where is whole_agent else with_part(agent, self.where, part)


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


@known_names
def minimize(
    loss: Loss[D],
    optimizer: optax.GradientTransformation,
    *,
    where: Callable[[Any], Any] = whole_agent,
) -> Minimize[D]:
    """One step of `optimizer` along the gradient of `loss`; the data is given on unchanged.

        minimize(ppo_loss(), optax.adam(2.5e-4))
        minimize(critic_loss(), optax.adam(1e-3), where=lambda agent: agent.critic)

    Optimisers are taken as Optax makes them, those as well that want the loss (`polyak_sgd`,
    `momo`, `reduce_on_plateau`), search along a line (`lbfgs`), or take gradients themselves
    (`sophia`, `sam`): they get `value`, `grad` and `value_fn`, which is the loss on the same
    data. Refused are `lookahead` and differentially private ones. The floats in an optimiser
    are hyperparameters: a new learning rate costs no compilation.

    **Arguments:**

    - `loss`: a [`Loss`][lerax_fx.Loss].
    - `optimizer`: an Optax gradient transformation.
    - `where`: picks the part of the agent that is trained, by default all of it.

    Metrics: `loss`, and the value of each of its terms, unweighted, by name.

    **Raises:** `WiringError` if `loss` or `optimizer` is something else, and, when traced,
    if `where` picks nothing that can be trained, if the loss has no gradient with respect to
    it (as far as JAX knows without computing it), or if the optimiser needs what it does not
    get.
    """
    if not isinstance(loss, Loss):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
        fix = "Call the loss to make it, for instance fx.ppo_loss()."
        got = f"{getattr(loss, '__name__', type(loss).__name__)}"
        raise WiringError(explain("minimize: loss", wanted="a Loss", got=got, fix=fix))
    if not isinstance(optimizer, optax.GradientTransformation):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
        raise WiringError(
            explain(
                "minimize: optimizer",
                wanted="an Optax gradient transformation",
                got=f"{optimizer!r}",
                fix="Pass for instance optax.adam(3e-4).",
            )
        )
    return Minimize(loss, optimizer, where)
