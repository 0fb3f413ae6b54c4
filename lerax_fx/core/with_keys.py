"""Chance for a stage that is a pure function of its data."""

import math
from typing import Any, final

import jax

from lerax_fx.core.transform import Inside, Step, Transform
from lerax_fx.core.wiring import check_is_transform, check_within
from lerax_fx.data.keyed_targets import KeyedTargets
from lerax_fx.data.targets import Targets
from lerax_fx.types import Key, Tree


@final
class WithKeys(Transform[Targets, Targets]):
    """See [`with_keys`][lerax_fx.with_keys]."""

    inner: Transform[KeyedTargets, Any]

    def init(self, agent: Tree, key: Key) -> Tree:
        return self.inner.init(agent, key)

    def update(self, agent: Tree, state: Tree, data: Targets, key: Key) -> Step[Targets]:
        own, inner = jax.random.split(key)
        step = self.inner.update(agent, state, _keyed(data, own), inner)
        return Step(step.agent, step.state, data, step.metrics)

    def inside(self, agent: Tree, state: Tree, data: Targets, key: Key) -> Inside:
        del agent
        return Inside(self.inner, state, jax.eval_shape(_keyed, data, key))


def _keyed(data: Targets, key: Key) -> KeyedTargets:
    axes = data.target.shape
    keys = jax.random.split(key, math.prod(axes))
    return KeyedTargets(data, keys.reshape(*axes, *key.shape))


def with_keys(inner: Transform[KeyedTargets, Any]) -> WithKeys:
    """Run `inner` on the data with a new random key for each step; give the data on unchanged.

        with_keys(minimize(soft_policy_loss(), optax.adam(3e-4), where=actor))

    A loss is a pure function of the agent and the data, so what it leaves to chance comes
    with the data. Around the stage rather than before it, so that what draws stands beside
    what needs it, two stages never use one key, and the stages after it get what they would
    have got.

    **Raises:** `WiringError` if `inner` is no transform, or one that keeps data.
    """
    check_is_transform("with_keys: inner", inner)
    check_within("with_keys", inner, KeyedTargets)
    return WithKeys(inner)
