"""Gradient steps on a loss."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import optax

from lerax_fx._core.arguments import known_names
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.non_trainable import NonTrainable
from lerax_fx.agents.packed import with_part
from lerax_fx.errors import WiringError, explain
from lerax_fx.losses.loss import FunctionLoss, Loss, loss_of
from lerax_fx.optimization.extra_args import init_optimizer, optimizer_update
from lerax_fx.optimization.optimizer import Optimizer, transformation_of
from lerax_fx.types import Key, Metrics, Scalar, Tree

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

        def objective(trained: Tree) -> tuple[Scalar, Metrics]:
            loss, metrics = self.loss(self._joined(agent, trained, fixed), data, key)
            return _noting_derivatives(loss, differentiated), metrics

        (value, metrics), gradient = jax.value_and_grad(objective, has_aux=True)(trained)
        if not differentiated:
            raise WiringError(
                explain(
                    "minimize: loss",
                    wanted="a loss that depends on the arrays that are trained",
                    got=f"{self.loss.formula}, which has no gradient with respect to them",
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
        priority = metrics.pop("priority", None)
        out: Any = data
        if priority is not None:
            out = dataclasses.replace(out, priority=priority)
        return Step(self._joined(agent, trained, fixed), state, out, metrics)

    def _transformation(self, trained: Tree) -> optax.GradientTransformation:
        """Optax's, on one vector of all parameters where that is the same: a few operations
        instead of dozens.
        """
        transformation = transformation_of(self.optimizer)
        elementwise = isinstance(self.optimizer, Optimizer) and self.optimizer.elementwise
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(trained)}
        return optax.flatten(transformation) if elementwise and len(dtypes) == 1 else transformation

    def _split(self, agent: Tree) -> tuple[Tree, Tree]:
        """The arrays that are trained, and the rest of the part that is."""
        part = self._part(agent)
        trainable = jax.tree.map(_trainable, part, is_leaf=_is_non_trainable)
        trained, fixed = eqx.partition(part, trainable)
        if not jax.tree.leaves(trained):
            raise WiringError(
                explain(
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
        return with_part(agent, self._part, part) if self.part else part


def _at(agent: Any, path: str) -> Any:
    """What a path of fields, such as `"model/vector_field"`, leads to."""
    part = agent
    for name in path.split("/"):
        if not hasattr(part, name):
            raise WiringError(
                explain(
                    "minimize: part",
                    wanted=f"a field of the agent, or a path of fields: {path!r}",
                    got=f"a {type(part).__name__} without {name!r}",
                    fix="Name a field that the agent has.",
                )
            )
        part = getattr(part, name)
    return part


def _is_non_trainable(node: Any) -> bool:
    return isinstance(node, NonTrainable)


def _trainable(node: Any) -> bool:
    return not _is_non_trainable(node) and eqx.is_inexact_array(node)


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
    loss: Loss[D] | Callable[[Any, D, Key], Scalar | tuple[Scalar, Metrics]],
    optimizer: Optimizer | optax.GradientTransformation,
    *,
    part: str | tuple[str, ...] = (),
) -> Minimize[D]:
    """One step of `optimizer` along the gradient of `loss`; the data is given on unchanged.

        minimize(ppo_loss(), optimizer(optax.adam, 2.5e-4))
        minimize(critic_loss(), optimizer(optax.adam, 1e-3), part="critic")

    Optimisers that want the loss (`polyak_sgd`, `momo`, `reduce_on_plateau`), search along a line
    (`lbfgs`), or take gradients themselves (`sophia`, `sam`) get `value`, `grad` and `value_fn`,
    which is the loss on the same data. Refused are `lookahead` and differentially private ones.

    **Arguments:**

    - `loss`: a [`Loss`][lerax_fx.Loss], or a function `(agent, data, key) -> scalar`, or the
      scalar and a dict of metrics. The key is for what the agent or the loss draws.
    - `optimizer`: an [`optimizer`][lerax_fx.optimizer], whose floats are hyperparameters, or an
      Optax gradient transformation, which is structure.
    - `part`: the part of the agent that is trained, by default all of it: the name of a field,
      a path of fields such as `"model/vector_field"`, or a tuple of these. Only floating-point
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
            explain(
                "minimize: optimizer",
                wanted="an Optax gradient transformation",
                got=f"{optimizer!r}",
                fix="Pass for instance fx.optimizer(optax.adam, 3e-4).",
            )
        )
    return Minimize(checked, optimizer, (part,) if isinstance(part, str) else part)
