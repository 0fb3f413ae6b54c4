"""The errors of lerax_fx, and how they are worded.

Every message names the place (a stage and its argument), what was wanted, what came, and
what to do about it. All of them are raised while Python builds or traces the program,
before XLA compiles anything.
"""


class LeraxError(Exception):
    """The base of all errors that lerax_fx raises."""


class WiringError(LeraxError, TypeError):
    """Two parts do not fit: stages in the wrong order, an agent without a method, ..."""


class HyperparameterError(LeraxError, ValueError):
    """A hyperparameter or an option has a value, or a name, that it cannot have."""


class EnvironmentSetupError(LeraxError, ValueError):
    """An environment is unknown, not installed, or cannot be adapted to `Env`."""


class SavingError(LeraxError, ValueError):
    """A file cannot be written or read, or does not hold what is asked for."""


def format_error(where: str, *, wanted: str, got: str, fix: str) -> str:
    """Format an error: the place, what it wants, what it got, and what to do.

    **Arguments:**

    - `where`: the stage and the argument, for instance `"gae: discount"`.
    - `wanted`: what the place accepts.
    - `got`: what came instead.
    - `fix`: an instruction to the reader, starting with a verb.
    """
    return f"{where}: wanted {wanted}, got {got}. {fix}"
