"""An agent as one flat tuple of arrays, for jitted functions called once a step."""

import copy
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax

from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Tree


@final
class Packed:
    """See [`packed`][lerax_fx.agents.packed]. `agent` is the agent; what it has, this has too."""

    # No equinox module: JAX takes a registered dataclass apart without calling Python.
    leaves: tuple[Any, ...]
    structure: Any

    def __init__(self, leaves: tuple[Any, ...], structure: Any):
        object.__setattr__(self, "leaves", leaves)
        object.__setattr__(self, "structure", structure)

    def __setattr__(self, name: str, value: Any) -> None:
        # As of any module; and here it would go unseen, beside the leaves.
        raise AttributeError(
            f"packed: {name}: an agent is immutable. Change a copy, "
            "fx.agents.packed(eqx.tree_at(..., "
            "agent.agent, ...))."
        )

    @property
    def agent(self) -> Tree:
        """The agent, with the arrays as they are now."""
        return jax.tree.unflatten(self.structure, self.leaves)

    def __getattr__(self, name: str) -> Any:
        # Also what copy looks for before there is an agent.
        if name.startswith("__") or name in ("leaves", "structure"):
            raise AttributeError(name)
        return getattr(self.agent, name)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"packed: {name}: an agent is immutable.")

    def __deepcopy__(self, memo: dict[int, Any]) -> "Packed":
        # The structure is immutable, and Equinox's does not survive being copied.
        return Packed(copy.deepcopy(self.leaves, memo), self.structure)


jax.tree_util.register_dataclass(Packed, data_fields=("leaves",), meta_fields=("structure",))


def replace_part(agent: Any, where: Callable[[Any], Any], part: Any) -> Any:
    """An agent, packed or not, with the part that `where` picks replaced."""
    if not isinstance(agent, Packed):
        return eqx.tree_at(where, agent, part)
    # What it gives is made anew each time, and not to be found among its leaves.
    whole = eqx.tree_at(where, agent.agent, part)
    return Packed(tuple(jax.tree.leaves(whole)), agent.structure)


def packed(agent: Any) -> Packed:
    """The agent as one flat tuple of arrays, which is cheap to pass to a jitted function.

        agent = fx.agents.packed(agent)
        act = jax.jit(lambda agent, observation, key: agent.step(None, observation, key))

    At each call JAX flattens its arguments, and asks Python to do so for each module in an
    agent: for a small network that takes longer than the call itself. Here there is one tuple
    of arrays. All methods and fields of the agent are there, gradients and Optax's
    updates come in the same form, and `.agent` gives the agent back. In a scan, or a loop
    made by [`anakin_loop`][lerax_fx.anakin_loop], nothing is gained.

    **Raises:** `WiringError` if a leaf of the agent is no array.
    """
    leaves, structure = jax.tree.flatten(agent)
    for leaf in leaves:
        if not isinstance(leaf, jax.Array):
            raise WiringError(
                format_error(
                    "packed: agent",
                    wanted="an agent with only arrays for leaves",
                    got=f"{leaf!r:.80}",
                    fix="Make functions and sizes static fields (eqx.field(static=True)).",
                )
            )
    return Packed(tuple(leaves), structure)
