"""Pure functions of the data as transforms."""

import functools
import inspect
from collections.abc import Callable
from types import NoneType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, final, get_origin, get_type_hints

import equinox as eqx

from lerax_fx.core.arguments import bind_hyperparameters
from lerax_fx.core.transform import In_contra, Out_co, Step, Transform
from lerax_fx.core.unchecked import unchecked
from lerax_fx.types import Key, Tree

In = TypeVar("In")
Out = TypeVar("Out")
P = ParamSpec("P")


@final
class FunctionTransform(Transform[In_contra, Out_co]):
    """A pure function of the data (and perhaps the agent), as a stage.

    - `function`: the function as it was written.
    - `hyperparameters`: its keyword arguments; the floats among them are traced.
    - `takes_agent`: whether the function's first argument is the agent.
    """

    function: Callable[..., Any] = eqx.field(static=True)
    hyperparameters: dict[str, Any]
    takes_agent: bool = eqx.field(static=True, default=False)

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def draws(self) -> int:
        return 0

    @property
    def input_type(self) -> Any:
        hints = _positional_hints(self.function)
        return hints[1 if self.takes_agent else 0]

    @property
    def output_type(self) -> Any:
        return _runtime_type(get_type_hints(self.function).get("return", Any))

    def init(self, agent: Tree, key: Key) -> Tree:
        del agent, key
        return ()

    def update(self, agent: Tree, state: Tree, data: In_contra, key: Key) -> Step[Out_co]:
        del key
        arguments = (agent, data) if self.takes_agent else (data,)
        return Step(agent, state, self.function(*arguments, **self.hyperparameters))


class TransformFactory(Generic[P, In, Out]):
    """A function that was decorated with [`transform`][lerax_fx.transform].

    Called with its keyword arguments it makes a stage; the function itself, to be called
    on data and tested alone, is `.function`.
    """

    def __init__(self, function: Callable[..., Any], takes_agent: bool):
        self.function = function
        self.takes_agent = takes_agent
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Transform[In, Out]:
        """Make the stage. **Raises:** `HyperparameterError` for a bad or unknown argument."""
        skip = 2 if self.takes_agent else 1
        name = self.function.__name__
        bound = bind_hyperparameters(name, self.function, skip, args, kwargs)
        return FunctionTransform(self.function, bound, self.takes_agent)


@unchecked
def transform(function: Callable[Concatenate[In, P], Out]) -> TransformFactory[P, In, Out]:
    """Lift a pure function of the data to a transform.

        @transform
        def scale_reward(rollout: Rollout, *, scale: ScalarLike = 1.0) -> Rollout: ...

        scale_reward(scale=0.1)            # a Transform[Rollout, Rollout]
        scale_reward.function(rollout)     # the function, as it was

    The first argument is the data; all others are keywords. Annotate a float with
    `Fraction`, `Positive`, `NonNegative` or an `Interval` of your own, and a value outside
    it is refused where the stage is made.
    """
    return TransformFactory(function, takes_agent=False)


@unchecked
def agent_transform(
    function: Callable[Concatenate[Any, In, P], Out],
) -> TransformFactory[P, In, Out]:
    """Lift a pure function of the agent and the data, as [`transform`][lerax_fx.transform].

    The first argument is the agent, the second the data; all others are keywords.
    """
    return TransformFactory(function, takes_agent=True)


def _positional_hints(function: Callable[..., Any]) -> list[Any]:
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters
    return [_runtime_type(hints.get(name, Any)) for name in parameters]


def _runtime_type(hint: Any) -> Any:
    if hint is NoneType or hint is None:
        return NoneType
    hint = get_origin(hint) or hint
    return hint if isinstance(hint, type) else Any
