"""Pure functions as transforms."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, final, get_type_hints, overload

import equinox as eqx

from lerax_fx._core.arguments import bind_hyperparameters, unchecked
from lerax_fx._core.transform import In_contra, Out_co, Shapes, Step, Transform, runtime_type
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Key, Tree

In = TypeVar("In")
Out = TypeVar("Out")
P = ParamSpec("P")


@final
class FunctionTransform(Transform[In_contra, Out_co]):
    """A pure function as a stage.

    - `function`: the function as it was written.
    - `hyperparameters`: its keyword arguments; the floats among them are traced.
    """

    function: Callable[..., Any] = eqx.field(static=True)
    hyperparameters: dict[str, Any]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def types(self) -> tuple[Any, Any]:
        hints = get_type_hints(self.function)
        names = positional_names(self.function)
        wanted = hints.get(names[min(1, len(names) - 1)], Any)
        return runtime_type(wanted), runtime_type(hints.get("return", Any))

    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        del agent, data, key
        return ()

    def update(self, agent: Tree, state: Tree, data: In_contra, key: Key) -> Step[Out_co]:
        count = len(positional_names(self.function))
        arguments = (data,) if count == 1 else (agent, data, key)[:count]
        return Step(agent, state, self.function(*arguments, **self.hyperparameters))


class TransformFactory(Generic[P, In, Out]):
    """A function that was decorated with [`transform`][lerax_fx.transform].

    Called with its keyword arguments it makes a stage; the function itself, to be called
    on data and tested alone, is `.function`.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Transform[In, Out]:
        """Make the stage. **Raises:** `HyperparameterError` for a bad or unknown argument."""
        skip = len(positional_names(self.function))
        bound = bind_hyperparameters(self.function.__name__, self.function, skip, args, kwargs)
        return FunctionTransform(self.function, bound)


@overload
def transform(
    function: Callable[Concatenate[Any, In, Key, P], Out],
) -> TransformFactory[P, In, Out]: ...
@overload
def transform(
    function: Callable[Concatenate[Any, In, P], Out],
) -> TransformFactory[P, In, Out]: ...
@overload
def transform(function: Callable[Concatenate[In, P], Out]) -> TransformFactory[P, In, Out]: ...
@unchecked
def transform(function: Callable[..., Any]) -> Any:
    """Lift a pure function to a transform.

        @transform
        def scale_reward(rollout: Rollout, *, scale: ScalarLike = 1.0) -> Rollout: ...

        scale_reward(scale=0.1)            # a Transform[Rollout, Rollout]
        scale_reward.function(rollout)     # the function, as it was

    Its positional arguments are the data, `f(data)`; the agent and the data, `f(agent, data)`;
    or both and a random key, `f(agent, data, key)`. All others are keyword-only, and are
    hyperparameters. Annotate a float with `Fraction`, `Positive`, `NonNegative` or an
    `Interval`, and a value outside is refused where the stage is made.

    **Raises:** `WiringError` for a function with other positional arguments.
    """
    names = positional_names(function)
    parameters = inspect.signature(function).parameters.values()
    if not 1 <= len(names) <= 3 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise WiringError(
            format_error(
                f"transform: {getattr(function, '__name__', function)}",
                wanted="a function f(data), f(agent, data) or f(agent, data, key) whose other "
                "arguments are keyword-only",
                got=f"the positional arguments ({', '.join(names)})",
                fix="Put a * before its hyperparameters.",
            )
        )
    return TransformFactory[Any, Any, Any](function)


def positional_names(function: Callable[..., Any]) -> list[str]:
    """The names of a function's positional arguments."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in kinds]
