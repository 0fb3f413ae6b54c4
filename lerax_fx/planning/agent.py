"""Agents that plan."""

from typing import Any, final

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.nde.dynamics import Dynamics
from lerax_fx.planning.cem import Search, cem
from lerax_fx.types import Key, Scalar, Tree


@final
class Plan(eqx.Module):
    actions: Float[Array, "horizon size"]
    key: Key


@final
class PlanningAgent(AbstractActorCritic):
    model: Dynamics
    horizon: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    num_elites: int = eqx.field(static=True)
    num_iterations: int = eqx.field(static=True)
    discount: float = eqx.field(static=True)
    noise: float = eqx.field(static=True)
    momentum: float = eqx.field(static=True, default=0.0)

    def initial_memory(self) -> Plan:
        size = self.model.actions.size
        return Plan(jnp.zeros((self.horizon, size)), jax.random.key(0))

    def step(self, memory: Plan, observation: Tree) -> tuple[Plan, distrax.Distribution, Scalar]:
        key, search_key = jax.random.split(memory.key)
        state = self.model.encode(observation)

        def score(actions: Array) -> Scalar:
            return self.predicted_return(state, actions)

        start = Search(memory.actions, jnp.ones_like(memory.actions))
        found = cem(score, start, key=search_key, low=-1.0, high=1.0,
            num_samples=self.num_samples, num_elites=self.num_elites,
            num_iterations=self.num_iterations, momentum=self.momentum)
        half = jnp.asarray(self.model.actions.half)
        loc = self.model.actions.unscale(found.mean[0])
        scale = (jnp.maximum(found.std[0], self.noise) * half).reshape(loc.shape)
        distribution = distrax.Independent(distrax.Normal(loc, scale), loc.ndim)
        following = jnp.concatenate([found.mean[1:], found.mean[-1:]])
        return Plan(following, key), distribution, score(found.mean)

    def predicted_return(self, state: Array, actions: Array) -> Scalar:
        def one_step(carry: Any, action: Array) -> Any:
            state, factor, total = carry
            state, reward = self.model.step(state, self.model.actions.unscale(action))
            return (state, factor * self.discount, total + factor * reward), None
        (_, _, total), _ = jax.lax.scan(one_step, (state, jnp.ones(()), jnp.zeros(())), actions)
        return total

    def unroll(self, memory: Plan, observations: Tree, resets: Bool[Array, " time"]):
        def one_step(memory: Any, inputs: Any) -> Any:
            observation, reset = inputs
            memory = jax.tree.map(lambda a, b: jnp.where(reset, a, b), self.initial_memory(), memory)
            memory, d, v = self.step(memory, observation)
            return memory, (d, v)
        memory, (d, v) = jax.lax.scan(one_step, memory, (observations, resets))
        return memory, d, v
