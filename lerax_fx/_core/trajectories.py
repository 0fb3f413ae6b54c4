"""Whether the data that a stage gets is whole trajectories, or single steps of them."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from lerax_fx.errors import WiringError, format_error

# Set while a stage that cuts trajectories traces the stage within it: data alone does not tell
# whether its trajectories were longer before.
_CUT_BY: ContextVar[str | None] = ContextVar("cut_by", default=None)


@contextmanager
def cutting_trajectories(stage: str, cuts: bool = True) -> Generator[None]:
    """While stages within `stage` are run, which cuts trajectories into steps if `cuts`."""
    if not cuts:
        yield
        return
    token = _CUT_BY.set(stage)
    try:
        yield
    finally:
        _CUT_BY.reset(token)


def check_whole_trajectories(where: str, fix: str | None = None) -> None:
    """For stages that look from one step of a trajectory to the next.

    **Raises:** `WiringError` within a stage that cuts trajectories into single steps.
    """
    stage = _CUT_BY.get()
    if stage is None:
        return
    raise WiringError(
        format_error(
            where,
            wanted="whole trajectories",
            got=f"single steps, shuffled, within {stage!r}",
            fix=fix
            or f"Pass whole_trajectories=True to {stage}; or put {where} before it, and to "
            f"estimate anew in each epoch: fx.repeat(epochs, fx.chain(fx.recompute_values(), "
            f"fx.{where}(...), fx.{stage}(..., num_epochs=1))).",
        )
    )
