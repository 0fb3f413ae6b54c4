"""Programs as an editor sees them: pyright reports each mistake at its line, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A module whose names all the programs import.
GIVEN = """
import jax
import jax.numpy as jnp
import optax
from jax import Array as Array

import lerax_fx as fx
from recipes import ppo as ppo

KEY = jax.random.key(0)
ENV = fx.make("CartPole-v1")
AGENT = fx.actor_critic(ENV, key=KEY)
SGD = optax.sgd(1e-2)
collect = fx.rollout(ENV, num_envs=2, num_steps=4)
learn = fx.minimize(fx.ppo_loss(), SGD)
train = fx.anakin_loop(fx.chain(collect, fx.gae(), learn), num_updates=1)


@fx.transform
def clip_reward(rollout: fx.data.Rollout, *, limit: fx.typing.Positive = 1.0) -> fx.data.Rollout:
    reward = rollout.reward.clip(-jnp.abs(limit), limit)
    return fx.data.Rollout(**{**vars(rollout), "reward": reward})


@fx.transform
def with_agent(agent: fx.agents.AbstractActorCritic, data: fx.data.Estimates) -> fx.data.Estimates:
    return data
"""

# Under the names that the same mistakes have in test_wrong_programs.py, where the stages
# themselves report them.
WRONG = {
    "stages in the wrong order": (
        "fx.chain(fx.gae(), collect)  # wrong",
        "reportArgumentType",
    ),
    "estimator missing": (
        "fx.chain(collect, learn)  # wrong",
        "reportArgumentType",
    ),
    "estimator missing before minibatch": (
        """
batches = fx.minibatch(learn, num_epochs=1, num_minibatches=1)
fx.chain(collect, batches)  # wrong
""",
        "reportArgumentType",
    ),
    "rollout missing": (
        """
algorithm = fx.chain(fx.gae(), learn)
fx.anakin_loop(
    algorithm,  # wrong
    num_updates=1,
)
""",
        "reportArgumentType",
    ),
    "factory not called": (
        "fx.chain(collect, fx.gae)  # wrong",
        "reportArgumentType",
    ),
    "plain function as a stage": (
        """
def plain_function(rollout: fx.data.Rollout) -> fx.data.Rollout:
    return rollout

fx.chain(collect, plain_function)  # wrong
""",
        "reportArgumentType",
    ),
    "misspelt hyperparameter": (
        """
fx.gae(
    lambda_=0.9,
    discout=0.9,  # wrong
)
""",
        "reportCallIssue",
    ),
    "misspelt hyperparameter of a loss": (
        "fx.ppo_loss(clipp=0.1)  # wrong",
        "reportCallIssue",
    ),
    "misspelt size": (
        "fx.rollout(ENV, num_env=2, num_steps=4)  # wrong",
        "reportCallIssue",
    ),
    "misspelt option of a recipe": (
        'ppo.make("CartPole-v1", key=KEY, learning_rat=0.1)  # wrong',
        "reportCallIssue",
    ),
    "positional hyperparameter": (
        "fx.gae(0.99)  # wrong",
        "reportCallIssue",
    ),
    "agent without step": (
        """
class WithoutStep(fx.agents.AbstractActorCritic):
    def initial_memory(self) -> fx.typing.Tree:
        return AGENT.initial_memory()

WithoutStep()  # wrong
""",
        "reportAbstractUsage",
    ),
    "agent whose step gives an output alone": (
        """
class NoMemory(fx.agents.AbstractActorCritic):
    def initial_memory(self) -> fx.typing.Tree:
        return AGENT.initial_memory()

    def step(  # wrong
        self,
        memory: fx.typing.Tree,
        observation: fx.typing.Tree,
        key: fx.typing.Key,
    ):
        return AGENT.step(memory, observation, key)[1]
""",
        "reportIncompatibleMethodOverride",
    ),
    "transform that gives another type than it declares": (
        """
@fx.transform
def promises_estimates(rollout: fx.data.Rollout) -> fx.data.Estimates:
    return rollout  # wrong
""",
        "reportReturnType",
    ),
    "update that returns no step": (
        """
class NoStep(fx.Transform[fx.data.Rollout, fx.data.Rollout]):
    def init(
        self, agent: fx.typing.Tree, data: fx.typing.Tree, key: fx.typing.Key
    ) -> fx.typing.Tree:
        return ()

    def update(  # wrong
        self,
        agent: fx.typing.Tree,
        state: fx.typing.Tree,
        data: fx.data.Rollout,
        key: fx.typing.Key,
    ):
        return data
""",
        "reportIncompatibleMethodOverride",
    ),
    "discount as a string": (
        """
fx.chain(
    collect,
    fx.gae(discount="0.9"),  # wrong
    learn,
)
""",
        "reportArgumentType",
    ),
    "a size that is a float": (
        "fx.rollout(ENV, num_envs=2, num_steps=4.0)  # wrong",
        "reportArgumentType",
    ),
    "loss not called": (
        "fx.minimize(fx.ppo_loss, SGD)  # wrong",
        "reportArgumentType",
    ),
    "an int for a key": (
        "train(AGENT, 0)  # wrong",
        "reportArgumentType",
    ),
    "agent and key swapped": (
        "train(KEY, AGENT)  # wrong",
        "reportArgumentType",
    ),
    "an agent for a state": (
        "train.step(AGENT)  # wrong",
        "reportArgumentType",
    ),
}

MORE_WRONG = {
    "the seventh stage of eight": (
        """
one = fx.chain(collect, fx.gae(), learn, learn, learn, learn, learn, learn)
two = fx.chain(collect, fx.gae(), learn, learn, learn, learn, fx.gae(), learn)  # wrong
""",
        "reportArgumentType",
    ),
    "nested chains that do not meet": (
        """
data = fx.chain(collect, fx.chain(clip_reward(), fx.gae()))
fx.chain(data, fx.chain(fx.gae(), learn))  # wrong
""",
        "reportArgumentType",
    ),
    "misfit behind identity": (
        "fx.chain(collect, fx.identity(), learn)  # wrong",
        "reportArgumentType",
    ),
    "term for another type of data than its evaluation's": (
        """
@fx.loss_term(fx.losses.forward)  # wrong
def first_reward(evaluation: fx.losses.PolicyOutput, data: fx.data.Rollout) -> fx.typing.Scalar:
    return data.reward[0]
""",
        "reportArgumentType",
    ),
    "agent and key of a recipe swapped": (
        """
agent, recipe = ppo.make(key=KEY)
recipe(KEY, agent)  # wrong
""",
        "reportArgumentType",
    ),
    "misfit behind an empty chain": (
        "fx.chain(collect, fx.chain(), learn)  # wrong",
        "reportArgumentType",
    ),
    "misfit within a minibatch": (
        """
inner = fx.chain(fx.gae(), learn)
batches = fx.minibatch(inner, num_epochs=1, num_minibatches=1)
fx.chain(collect, fx.gae(), batches)  # wrong
""",
        "reportArgumentType",
    ),
    "misfit within repeat": (
        "fx.chain(collect, fx.repeat(2, learn))  # wrong",
        "reportArgumentType",
    ),
    "misfit within every": (
        "fx.chain(collect, fx.every(2, learn))  # wrong",
        "reportArgumentType",
    ),
    "misfit of a function of agent and data": (
        "fx.chain(collect, with_agent())  # wrong",
        "reportArgumentType",
    ),
    "named stage that is not called": (
        "fx.chain(collect, advantage=fx.gae, learn=learn)  # wrong",
        "reportArgumentType",
    ),
    "stage without init": (
        """
class WithoutInit(fx.Transform[fx.data.Rollout, fx.data.Rollout]):
    def update(
        self,
        agent: fx.typing.Tree,
        state: fx.typing.Tree,
        data: fx.data.Rollout,
        key: fx.typing.Key,
    ):
        return fx.Step(agent, state, data)

WithoutInit()  # wrong
""",
        "reportAbstractUsage",
    ),
    "step that holds another type than it declares": (
        """
class NoEstimates(fx.Transform[fx.data.Rollout, fx.data.Estimates]):
    def init(
        self, agent: fx.typing.Tree, data: fx.typing.Tree, key: fx.typing.Key
    ) -> fx.typing.Tree:
        return ()

    def update(
        self,
        agent: fx.typing.Tree,
        state: fx.typing.Tree,
        data: fx.data.Rollout,
        key: fx.typing.Key,
    ) -> fx.Step[fx.data.Estimates]:
        return fx.Step(agent, state, data)  # wrong
""",
        "reportReturnType",
    ),
    "period and stage swapped": (
        "fx.every(learn, 2)  # wrong",
        "reportArgumentType",
    ),
    "size missing": (
        "fx.minibatch(learn, num_epochs=4)  # wrong",
        "reportCallIssue",
    ),
    "optimiser not called": (
        "fx.minimize(fx.ppo_loss(), optax.adam)  # wrong",
        "reportArgumentType",
    ),
    "loss plus a number": (
        "loss = fx.policy_gradient() + 0.5  # wrong",
        "reportOperatorIssue",
    ),
    "loss term not called": (
        "loss = fx.policy_gradient() - 0.01 * fx.entropy  # wrong",
        "reportOperatorIssue",
    ),
    "loss term of another evaluation": (
        """
@fx.loss_term(fx.losses.forward)  # wrong
def term(evaluation: fx.data.Rollout, data: fx.data.Estimates) -> fx.typing.Scalar:
    return data.target.mean()
""",
        "reportArgumentType",
    ),
    "agent for a state": (
        "train.step(AGENT)  # wrong",
        "reportArgumentType",
    ),
}

RIGHT = {
    "eight stages": """
from typing import assert_type

algorithm = fx.chain(
    collect,
    clip_reward(limit=0.5),
    fx.identity(),
    fx.gae(discount=0.9),
    with_agent(),
    fx.normalize_advantage(),
    fx.every(2, learn),
    fx.repeat(2, learn),
)
assert_type(algorithm, fx.Chain[None, fx.data.Estimates])
""",
    "nested chains": """
from typing import assert_type

data = fx.chain(collect, fx.chain(clip_reward(), fx.chain(), fx.gae()))
algorithm = fx.chain(data, fx.chain(fx.chain(learn), fx.normalize_advantage()))
assert_type(data, fx.Chain[None, fx.data.Estimates])
assert_type(algorithm, fx.Chain[None, fx.data.Estimates])
""",
    "minibatch, repeat and every around stages": """
from typing import assert_type

inner = fx.chain(fx.normalize_advantage(), fx.every(2, learn))
batches = fx.minibatch(fx.repeat(2, inner), num_epochs=4, num_minibatches=2)
algorithm = fx.chain(fx.repeat(2, collect), fx.every(3, clip_reward()), fx.gae(), batches)
assert_type(algorithm, fx.Chain[None, fx.data.Estimates])
""",
    "stages with names": """
algorithm = fx.chain(collect, advantage=fx.vtrace(), learn=learn)
swapped = fx.chain(algorithm["rollout"], fx.n_step_returns(n=4), algorithm["learn"])
fx.describe(swapped, AGENT)
fx.anakin_loop(swapped, num_updates=1)(AGENT, KEY)
""",
    "a stage with a state": """
from typing import assert_type

class Count(fx.Transform[fx.data.Estimates, fx.data.Estimates]):
    def init(
        self, agent: fx.typing.Tree, data: fx.typing.Tree, key: fx.typing.Key
    ) -> fx.typing.Count:
        return jnp.zeros((), int)

    def update(
        self,
        agent: fx.typing.Tree,
        state: fx.typing.Count,
        data: fx.data.Estimates,
        key: fx.typing.Key,
    ) -> fx.Step[fx.data.Estimates]:
        return fx.Step(agent, state + 1, data, {"count": state})

assert_type(fx.chain(collect, fx.gae(), Count()), fx.Chain[None, fx.data.Estimates])
""",
    "a sum of losses": """
from typing import assert_type

@fx.loss_term(fx.losses.forward)
def drift(
    evaluation: fx.losses.PolicyOutput, data: fx.data.Estimates, *, power: int = 2
) -> tuple[fx.typing.Scalar, fx.typing.Metrics]:
    change = evaluation.value - data.rollout.value
    return (change**power).mean(), {"change": change.mean()}

loss = fx.policy_gradient() + 0.5 * fx.value_loss() - fx.entropy() * 0.01 + drift(power=4)
assert_type(loss, fx.losses.Loss[fx.data.Estimates])
fx.chain(collect, fx.gae(), fx.minimize(loss, optax.adam(1e-3)))
""",
    "an agent of one's own": """
class Doubled(fx.agents.AbstractActorCritic):
    inner: fx.agents.AbstractActorCritic

    def initial_memory(self) -> fx.typing.Tree:
        return self.inner.initial_memory()

    def step(self, memory: fx.typing.Tree, observation: fx.typing.Tree, key: fx.typing.Key):
        memory, output = self.inner.step(memory, observation, key)
        return memory, fx.agents.Output(output.distribution, 2 * output.value)

    def unroll(
        self,
        memory: fx.typing.Tree,
        observations: fx.typing.Tree,
        resets: Array,
        key: fx.typing.Key,
    ):
        memory, output = self.inner.unroll(memory, observations, resets, key)
        return memory, fx.agents.Output(output.distribution, 2 * output.value)

agent, metrics = train(Doubled(AGENT), KEY)
agent.inner.initial_memory()
""",
    "a recipe over seeds": """
agent, ppo_train = ppo.make("Pendulum-v1", key=KEY, total_steps=1024, learning_rate=1e-3)
agent, metrics = ppo_train(agent, KEY)
agents, curves = jax.vmap(ppo_train, in_axes=(None, 0))(agent, jax.random.split(KEY, 8))
last = curves["minimize/loss"][:, -1]
""",
    "a run over discounts": """
def final_loss(discount: Array) -> Array:
    algorithm = fx.chain(collect, fx.gae(discount=discount), learn)
    return fx.anakin_loop(algorithm, 3)(AGENT, KEY)[1]["minimize/loss"][-1]

losses = jax.vmap(final_loss)(jnp.array([0.9, 0.99]))
""",
    "a run in pieces": """
state = train.init(AGENT, KEY)
state, metrics = train.step(state, num_updates=2)
state, metrics = train.step(state, num_updates=2, donate=True)
evaluation = fx.evaluate(ENV, state.agent, KEY, num_episodes=2)
returns = evaluation.episode_return.mean()
""",
}

PROGRAMS = {**WRONG, **MORE_WRONG, **{name: (program, None) for name, program in RIGHT.items()}}


def write(folder):
    settings = {
        "typeCheckingMode": "strict",
        # JAX's own functions: their signatures leave out the types of dtypes.
        "reportUnknownMemberType": False,
        # Optax is typed but does not say so; its source is read instead.
        "reportMissingTypeStubs": False,
        "extraPaths": [str(ROOT)],
        "stubPath": str(ROOT / "typings"),
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    (folder / "given.py").write_text(GIVEN)
    for name, (program, _) in PROGRAMS.items():
        (folder / f"{name}.py").write_text(f"from given import *\n{program}\n")


def reports(folder):
    """What pyright has to say of each file: `{name: [(line, rule, message), ...]}`."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--project", str(folder)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    output = json.loads(done.stdout)
    assert output["summary"]["filesAnalyzed"] == len(PROGRAMS) + 1
    found = {name: [] for name in ["given", *PROGRAMS]}
    for report in output["generalDiagnostics"]:
        # Pyright counts from 0, and there is the one line of the import before a program.
        line = report["range"]["start"]["line"]
        found[Path(report["file"]).stem].append((line, report.get("rule"), report["message"]))
    return found


def marked_lines(program):
    lines = enumerate(program.splitlines(), start=1)
    return {number for number, line in lines if line.endswith("# wrong")}


def as_expected(name, found):
    program, rule = PROGRAMS[name]
    if {line for line, _, _ in found} != marked_lines(program):
        return False
    return rule is None or rule in {reported for _, reported, _ in found}


# One test for all of them: each worker with a share of them would run pyright for itself.
def test_pyright_reports_the_marked_lines_and_no_others(tmp_path):
    write(tmp_path)
    found = reports(tmp_path)
    assert found.pop("given") == []
    unexpected = {name: found[name] for name in PROGRAMS if not as_expected(name, found[name])}
    assert unexpected == {}


def test_each_wrong_program_has_one_mark_and_no_right_one_has():
    marks = {name: len(marked_lines(program)) for name, (program, _) in PROGRAMS.items()}
    assert marks == {name: int(name not in RIGHT) for name in PROGRAMS}


def test_the_names_are_those_of_the_wrong_programs():
    table = Path(__file__).with_name("test_wrong_programs.py").read_text()
    assert [name for name in WRONG if f'\n    "{name}": (' not in table] == []
