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
from lerax_fx.losses.loss import FunctionLoss, Loss, loss_of
from lerax_fx.types import Key, Metrics, Scalar, Tree

D = TypeVar("D")


def whole_agent(agent: Tree) -> Tree:
    """The default of `where`: every floating-point array of the agent is trained."""
    return agent


@final
class Minimize(Transform[D, D]):
    """See [`minimize`][lerax_fx.minimize]."""

    loss: Loss[D] | FunctionLoss[D]
    optimizer: optax.GradientTransformation
    where: Callable[[Any], Any] = eqx.field(static=True)

    @property
    def input_type(self) -> Any:
        return self.loss.input_type

    @property
    def output_type(self) -> Any:
        return self.loss.input_type

    def init(self, agent: Tree, key: Key) -> Tree:
        del key
        return self.optimizer.init(self._split(agent)[0])

    def update(self, agent: Tree, state: Tree, data: D, key: Key) -> Step[D]:
        trained, fixed = self._split(agent)

        def objective(trained: Tree) -> tuple[Scalar, Metrics]:
            return self.loss(self._joined(agent, trained, fixed), data, key)

        gradient, metrics = jax.grad(objective, has_aux=True)(trained)
        updates, state = self.optimizer.update(gradient, state, trained)
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


@known_names
def minimize(
    loss: Loss[D] | Callable[[Any, D, Key], Scalar | tuple[Scalar, Metrics]],
    optimizer: optax.GradientTransformation,
    *,
    where: Callable[[Any], Any] = whole_agent,
) -> Minimize[D]:
    """One step of `optimizer` along the gradient of `loss`; the data is given on unchanged.

        minimize(ppo_loss(), optax.adam(2.5e-4))
        minimize(critic_loss(), optax.adam(1e-3), where=lambda agent: agent.critic)

    Any Optax optimiser will do, as Optax makes it. The floats in it are hyperparameters:
    a new learning rate costs no compilation.

    **Arguments:**

    - `loss`: a [`Loss`][lerax_fx.Loss], or a function `(agent, data, key) -> scalar`, or the
      scalar and a dict of metrics. The key is for what the agent or the loss draws.
    - `optimizer`: an Optax gradient transformation.
    - `where`: picks the part of the agent that is trained, by default all of it.

    Metrics: `loss`, and the value of each of its terms, unweighted, by name; or the
    metrics of a function.

    **Raises:** `WiringError` if `loss` or `optimizer` is something else, and, when traced,
    if `where` picks nothing that can be trained.
    """
    checked = loss_of("minimize: loss", loss)
    if not isinstance(optimizer, optax.GradientTransformation):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
        raise WiringError(
            explain(
                "minimize: optimizer",
                wanted="an Optax gradient transformation",
                got=f"{optimizer!r}",
                fix="Pass for instance optax.adam(3e-4).",
            )
        )
    return Minimize(checked, optimizer, where)
