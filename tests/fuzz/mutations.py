"""Right programs of lerax_fx with one or two mistakes in them, drawn at random.

Each program is one of `FAMILIES`: an environment, an agent and a chain of stages that fit. The
mistakes are other values of keyword arguments, from `ODD`, and stages that are left out, swapped,
repeated, or put within one another; or the environment or the agent of another family.

    python -m tests.fuzz.mutations --seeds 0 200  # a line of JSON each: [seed, mistakes, outcome]
"""

import argparse
import inspect
import json
import random
import traceback
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import lerax_fx as fx
from tests.fuzz.programs import CONTRACTS, KEY, Changes, Faulty, Walk
from tests.wiring.programs import Anything

BOX = fx.spaces.Box(-1.0, 1.0, (2,))
MASK = fx.spaces.MultiBinary(2)
Choice = Callable[[], list[Any]]
OBSERVATIONS = {
    "box": BOX,
    "bytes": fx.spaces.Box(0, 255, (4,), np.uint8),
    "image": fx.spaces.Box(0, 255, (6, 6, 1), np.uint8),
    "tiny image": fx.spaces.Box(0.0, 1.0, (2, 2, 1)),
    "integers": fx.spaces.MultiDiscrete([2, 3]),
    "dict": fx.spaces.Dict({"seen": BOX, "hidden": BOX, "mask": MASK}),
    "tuple": fx.spaces.Tuple((BOX, fx.spaces.Discrete(3))),
    "nothing": fx.spaces.Box(0.0, 1.0, (0,)),
}
ACTIONS = {
    "discrete": fx.spaces.Discrete(2),
    "three": fx.spaces.Discrete(3),
    "box": BOX,
    "unbounded": fx.spaces.Box(-np.inf, np.inf, (2,)),
    "integers": fx.spaces.MultiDiscrete([2, 3]),
    "whole": fx.spaces.Box(0, 3, (2,), np.int32),
    "dict": fx.spaces.Dict({"one": BOX, "two": fx.spaces.Discrete(2)}),
}


ODD: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 7, 1000, -1.0, 0.0, 0.5, 1.0, 2.0, 1e30, np.nan, np.inf, None, True, False),
    *("", "a", "gru", "mask", "hidden", ("seen",), (), (4,), (0,), [4, "b"], {}, {"a": 1}),
    *(np.ones(2), np.int32(2), np.float32(0.5), jnp.ones(()), jnp.ones((2, 4)), jax.nn.relu),
    *(optax.sgd(0.1), optax.linear_schedule(1.0, 0.0, 10), lambda count: jnp.zeros(2)),
    *(fx.gae, fx.gae(), fx.uniform(), fx.prioritized(), fx.polyak(0.5), fx.periodic, fx.ppo_loss()),
    *(fx.epsilon_greedy(0.1), fx.gaussian_noise(0.1), BOX, Walk(), "CartPole-v1", object()),
)


class Mistakes(random.Random):
    """A source of random numbers that keeps what it was used to get wrong."""

    def __init__(self, seed: int):
        super().__init__(seed)
        self.made: list[str] = []
        self.wanted = self.choice([1, 1, 1, 2])

    def here(self, share: float) -> bool:
        """Whether to make a mistake here."""
        return len(self.made) < self.wanted and self.random() < share


def call(r: Mistakes, function: Any, *args: Any, **usual: Any) -> Any:
    """`function(*args, **usual)`, with another value for one of its keywords by mistake."""
    if r.here(0.08):
        signature = inspect.signature(getattr(function, "function", function))
        signature = inspect.signature(function) if function is fx.nde.nde_solve else signature
        kinds = (inspect.Parameter.KEYWORD_ONLY,)
        names = [p.name for p in signature.parameters.values() if p.kind in kinds] + list(usual)
        names = [name for name in names if name != "key"]
        if names:
            name, value = r.choice(names), r.choice(ODD)
            usual[name] = value
            r.made.append(f"{function.__name__}({name}={value!r:.60})")
    return function(*args, **usual)


def optimizer(r: Mistakes) -> Any:
    if r.here(0.05):
        makers = [
            lambda: optax.adam,
            lambda: 1e-3,
            lambda: fx.optimizer(optax.adam),
            lambda: fx.optimizer(optax.adam, "fast"),
            lambda: fx.optimizer(optax.sgd(0.1)),
            lambda: fx.optimizer(optax.sgd, np.ones(2)),
            lambda: fx.optimizer(optax.adam, lr=1e-3),
            lambda: fx.optimizer(optax.sgd, optax.sgd(0.1)),
            lambda: optax.contrib.dpsgd(0.1, 1.0, 0.1, 0),
            lambda: optax.lookahead(optax.sgd(0.1), 2, 0.5),
            lambda: optax.masked(optax.sgd(0.1), {"a": True}),
        ]
        index = r.randrange(len(makers))
        r.made.append(f"optimizer {index}")
        return makers[index]()
    return fx.optimizer(optax.sgd, 1e-2)


def minimize(r: Mistakes, loss: Callable[..., Any], part: Any = (), **settings: Any) -> Any:
    losses = (
        *(fx.ppo_loss, fx.q_loss, fx.c51_loss, fx.quantile_regression_loss, fx.q_critic_loss),
        *(fx.dpg_loss, fx.sac_policy_loss, fx.temperature_loss, fx.losses.dynamics_loss),
        *(fx.policy_gradient, fx.value_loss, fx.entropy),
    )
    if r.here(0.06):
        loss, settings = r.choice(losses), {}
        r.made.append(f"minimize({loss.__name__})")
    made = call(r, loss, **settings)
    if r.here(0.06):
        other = r.choice(losses)
        weight = r.choice((0.5, 1, np.ones(2), "a", None, np.nan, optax.linear_schedule(1, 0, 9)))
        r.made.append(f"+ {weight!r:.30} * {other.__name__}")
        made = made + weight * other()
    if r.here(0.05):
        part = r.choice(("critic", "actr", ("actor", "actor"), "actor/layers", "", 3, "policy"))
        r.made.append(f"part={part!r}")
    return fx.minimize(made, optimizer(r), part=part)


def on_policy(r: Mistakes, env: Any, estimator: Any, **settings: Any) -> list[Any]:
    learn = fx.chain(fx.normalize_advantage(), minimize(r, fx.ppo_loss))
    return [
        call(r, fx.rollout, env, num_envs=2, num_steps=4),
        call(r, estimator, **settings),
        call(r, fx.minibatch, learn, num_epochs=1, num_minibatches=2),
    ]


def off_policy(r: Mistakes, env: Any, stages: list[Any], explore: Any = None, **settings: Any):
    return [
        call(r, fx.rollout, env, num_envs=2, num_steps=4, explore=explore),
        call(r, fx.replay, fx.chain(*stages), capacity=64, batch_size=4, length=4, **settings),
    ]


def transitions(actions: Any = None) -> fx.data.Transitions:
    flags, steps = jnp.zeros((8, 2), bool), jnp.zeros((8, 2))
    seen = jnp.zeros((8, 2, 2))
    actions = jnp.zeros((8, 2), int) if actions is None else actions
    return fx.data.Transitions(seen, actions, steps, flags, flags, seen)


def offline(r: Mistakes) -> list[Any]:
    data = transitions()
    if r.here(0.3):
        odd: dict[str, Any] = {
            "flat": jax.tree.map(lambda x: x[:, 0], data),
            "words": {"a": "b"},
            "nothing": None,
            "uneven": (jnp.zeros(3), jnp.zeros(4)),
            "scalars": jnp.zeros(()),
            "targets": fx.data.Targets(data.observation, data.action, data.reward),
            "real actions": transitions(jnp.zeros((8, 2, 1))),
            "array": jnp.zeros((8, 2)),
        }
        name = r.choice(list(odd))
        r.made.append(f"data: {name}")
        data = odd[name]
    stages = [call(r, fx.td_target), minimize(r, fx.q_loss)]
    return [call(r, fx.dataset, data, batch_size=4), *stages]


def families(r: Mistakes) -> dict[str, Callable[[], tuple[Any, Any, list[Any]]]]:
    """Of each family, its environment, its agent and its stages."""
    walk, box = Anything(), Anything(BOX, BOX)
    entries = Anything(OBSERVATIONS["dict"])
    timed = fx.envs.IrregularTime(walk, 2)
    small = {"widths": (4,)}

    def family(env: Any, constructor: Any, stages: Callable[[Any], list[Any]], **options: Any):
        def make():
            used = wrong_env(r, env)
            return used, call(r, constructor, used, key=KEY, **options), stages(used)

        return make

    def dqn(
        before: Choice = list,
        loss: Any = fx.q_loss,
        target: Any = fx.td_target,
        sampling: Any = None,
    ):
        def stages(env: Any) -> list[Any]:
            settings = {} if sampling is None else {"sampling": call(r, sampling)}
            inner = [*before(), call(r, target, update=call(r, fx.periodic, period=2))]
            greedy = call(r, fx.epsilon_greedy, epsilon=0.1)
            return off_policy(r, env, [*inner, minimize(r, loss)], greedy, **settings)

        return stages

    def critics(target: Any, policy: Any):
        def stages(env: Any) -> list[Any]:
            first = call(r, target, update=call(r, fx.polyak, step_size=0.1))
            learn = [minimize(r, fx.q_critic_loss, "critic"), minimize(r, policy, "actor")]
            return off_policy(r, env, [fx.chain(first, critic=learn[0], actor=learn[1])])

        return stages

    def model(env: Any) -> list[Any]:
        stages = [minimize(r, fx.losses.dynamics_loss, "model")]
        return off_policy(r, env, stages, call(r, fx.gaussian_noise, scale=0.1), memory=False)

    def impala(env: Any) -> list[Any]:
        first, *rest = on_policy(r, env, fx.vtrace)
        return [call(r, fx.lagged, first, period=2), *rest[:1], minimize(r, fx.policy_gradient)]

    def phasic(env: Any) -> list[Any]:
        first, *rest = on_policy(r, env, fx.gae)
        return [first, call(r, fx.accumulate, inner=fx.chain(*rest), n=2)]

    def statistics(env: Any) -> list[Any]:
        return [*on_policy(r, env, fx.gae), fx.update_statistics()]

    def normalized(env: Any, *, key: Any) -> Any:
        return fx.agents.normalize_observations(fx.actor_critic(env, key=key, width=4), env)

    def anew(env: Any) -> list[Any]:
        first, estimator, learn = on_policy(r, env, fx.gae)
        inner = fx.chain(fx.recompute_values(), estimator, learn)
        return [first, call(r, fx.repeat, inner=inner, times=2)]

    def seldom(env: Any) -> list[Any]:
        first, estimator, learn = on_policy(r, env, fx.n_step_returns, n=2)
        return [first, estimator, call(r, fx.every, inner=learn, period=2)]

    ppo = lambda env: on_policy(r, env, fx.gae)  # noqa: E731
    gru = {"width": 4}
    nde = fx.nde
    return {
        "ppo": family(walk, fx.actor_critic, ppo, width=4),
        "ppo of entries": family(
            entries, fx.agents.mlp_actor_critic, ppo, width=4, action_mask="mask", actor_sees="seen"
        ),
        "ppo of images": family(Anything(OBSERVATIONS["image"]), fx.agents.cnn_actor_critic, ppo),
        "ppo in a box": family(box, fx.actor_critic, ppo, width=4, squash=True),
        "recurrent ppo": family(walk, fx.agents.gru_actor_critic, ppo, **gru),
        "ode ppo": family(timed, nde.ode_actor_critic, ppo, width=4, hidden=4),
        "cde ppo": family(timed, nde.cde_actor_critic, ppo, width=4, hidden=4),
        "linear cde ppo": family(timed, nde.linear_cde_actor_critic, ppo, width=4),
        "impala": family(walk, fx.actor_critic, impala, **gru),
        "phasic": family(walk, fx.actor_critic, phasic, **gru),
        "statistics": family(walk, normalized, statistics),
        "anew": family(walk, fx.actor_critic, anew, **gru),
        "seldom": family(walk, fx.actor_critic, seldom, **gru),
        "dqn": family(walk, fx.q_agent, dqn(), **small),
        "masked dqn": family(entries, fx.q_agent, dqn(), action_mask="mask", **small),
        "prioritized": family(walk, fx.q_agent, dqn(sampling=fx.prioritized), noisy=True, **small),
        "r2d2": family(
            walk, fx.agents.gru_q_agent, dqn(lambda: [call(r, fx.burn_in, steps=2)]), **gru
        ),
        "c51": family(
            walk,
            fx.categorical_q_agent,
            dqn(loss=fx.c51_loss, target=fx.distributional_td_target),
            num_atoms=5,
            **small,
        ),
        "qr_dqn": family(
            walk,
            fx.quantile_q_agent,
            dqn(loss=fx.quantile_regression_loss, target=fx.distributional_td_target),
            num_quantiles=5,
            **small,
        ),
        "td3": family(
            box, fx.deterministic_actor_critic, critics(fx.td3_target, fx.dpg_loss), **small
        ),
        "sac": family(
            box, fx.soft_actor_critic, critics(fx.sac_target, fx.sac_policy_loss), **small
        ),
        "discrete sac": family(
            walk, fx.soft_actor_critic, critics(fx.sac_target, fx.sac_policy_loss), **small
        ),
        "planning": family(
            box,
            fx.planning.planning_agent,
            model,
            width=4,
            horizon=2,
            num_samples=4,
            num_elites=2,
            num_iterations=1,
        ),
        "offline": family(walk, fx.q_agent, lambda env: offline(r), **small),
    }


def wrong_env(r: Mistakes, env: Any) -> Any:
    """The environment, or by mistake one of other spaces, or in a wrapper."""
    if r.here(0.06):
        seen, done = r.choice(list(OBSERVATIONS)), r.choice(list(ACTIONS))
        r.made.append(f"env: {seen}, {done}")
        env = Anything(OBSERVATIONS[seen], ACTIONS[done])
    if r.here(0.06):
        envs = fx.envs
        wrappers: tuple[Any, ...] = (
            *(envs.NormalizeReward, envs.ClipAction, envs.RescaleAction, envs.FlattenObservation),
            *(envs.mask_velocities, envs.IrregularTime, envs.TimeLimit, envs.SelectObservation),
        )
        wrapper = r.choice(wrappers)
        needs = {envs.TimeLimit: (3,), envs.SelectObservation: ((0,),)}.get(wrapper, ())
        if needs and r.random() < 0.5:
            needs = (r.choice(ODD),)
        r.made.append(f"{wrapper.__name__}{needs!r:.60}")
        env = wrapper(env, *needs)
    return env


def wrong_stages(r: Mistakes, stages: list[Any]) -> list[Any]:
    """The stages, or by mistake in another order, or in others."""
    if not r.here(0.5):
        return stages
    i, j = r.randrange(len(stages)), r.randrange(len(stages))
    wrappers: dict[str, Callable[[Any], Any]] = {
        "repeat": lambda stage: fx.repeat(2, stage),
        "every": lambda stage: fx.every(2, stage),
        "minibatch": lambda stage: fx.minibatch(stage, num_epochs=1, num_minibatches=2),
        "whole": lambda stage: fx.minibatch(
            stage, num_epochs=1, num_minibatches=2, whole_trajectories=True
        ),
        "replay": lambda stage: fx.replay(stage, capacity=32, batch_size=2, length=4),
        "accumulate": lambda stage: fx.accumulate(2, stage),
        "lagged": lambda stage: fx.lagged(stage, period=2),
        "changes": lambda stage: fx.chain(Changes(r.choice(CONTRACTS)), stage),
        "statistics": lambda stage: fx.chain(stage, fx.update_statistics()),
        "burn_in": lambda stage: fx.chain(fx.burn_in(2), stage),
        "gae": lambda stage: fx.chain(stage, fx.gae()),
        "recompute": lambda stage: fx.chain(fx.recompute_values(), stage),
    }
    kind = r.choice(["left out", "swapped", "twice", *wrappers, *wrappers])
    r.made.append(f"stage {i}: {kind}")
    stages = list(stages)
    if kind == "left out":
        del stages[i]
    elif kind == "swapped":
        stages[i], stages[j] = stages[j], stages[i]
    elif kind == "twice":
        stages.insert(j, stages[i])
    else:
        stages[i] = wrappers[kind](stages[i])
    return stages


def program(r: Mistakes) -> tuple[Any, Any]:
    """A random algorithm with mistakes, and the agent that it is to train."""
    choices = families(r)
    env, agent, stages = choices[r.choice(list(choices))]()
    stages = wrong_stages(r, stages)
    if r.here(0.4):
        other = r.choice(list(choices))
        fault = r.choice(["memory", "pair", "value", "distribution", "unroll"])
        if r.random() < 0.5:
            agent = families(Mistakes(0))[other]()[1]
            r.made.append(f"agent of {other}")
        else:
            agent = Faulty(agent, fault)
            r.made.append(f"agent: {fault}")
    del env
    return fx.chain(*stages), agent


def outcome(seed: int, *, run: bool = False) -> tuple[list[str], str]:
    """The mistakes, and `"traces"`, `"trains"`, `"refused: ..."` or `"WRONG: ..."`."""
    r = Mistakes(seed)
    try:
        algorithm, agent = program(r)
        train = fx.anakin_loop(algorithm, 3)
        jax.eval_shape(lambda key: train(agent, key)[1], KEY)
        if not run:
            return r.made, "traces"
        agent, metrics = train(agent, KEY)
    except fx.LeraxError as error:
        return r.made, f"refused: {error}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).splitlines()[0] if str(error) else ""
        return r.made, f"WRONG: {type(error).__name__}: {text} ({where.filename}:{where.lineno})"
    numbers = [x for x in jax.tree.leaves(agent) if eqx.is_inexact_array(x)]
    if not all(bool(jnp.all(jnp.isfinite(x))) for x in numbers):
        return r.made, f"WRONG: not finite, metrics {metrics}"
    return r.made, "trains"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 100))
    parser.add_argument("--run", action="store_true", help="train what can be traced")
    arguments = parser.parse_args()
    for seed in range(*arguments.seeds):
        mistakes, text = outcome(seed, run=arguments.run)
        print(json.dumps([seed, mistakes, text]), flush=True)


if __name__ == "__main__":
    main()
