"""Random keys for a stage that is a pure function of its data."""

import math
from typing import Any, final

import jax

from lerax_fx._core.chain import as_chain
from lerax_fx._core.transform import Step, Transform
from lerax_fx._core.wrapper import Wrapper
from lerax_fx.data.keyed_targets import KeyedTargets
from lerax_fx.data.targets import Targets
from lerax_fx.types import Key, Tree


@final
class WithKeys(Wrapper[Targets, Targets]):
    """See [`with_keys`][lerax_fx.with_keys]."""

    def update(self, agent: Tree, state: Tree, data: Targets, key: Key) -> Step[Targets]:
        own, inner = jax.random.split(key)
        step = self.inner.update(agent, state, _keyed(data, own), inner)
        return Step(step.agent, step.state, data, step.metrics)


def _keyed(data: Targets, key: Key) -> KeyedTargets:
    axes = data.target.shape
    keys = jax.random.split(key, math.prod(axes))
    return KeyedTargets(data, keys.reshape(*axes, *key.shape))


def with_keys(inner: Transform[KeyedTargets, Any]) -> WithKeys:
    """Run `inner` on the data with a new random key for each step."""
    return WithKeys(as_chain(inner, "with_keys: inner"))
