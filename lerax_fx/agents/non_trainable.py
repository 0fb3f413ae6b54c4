"""Arrays of an agent that no gradient touches."""

import equinox as eqx


class NonTrainable(eqx.Module):
    """A part of an agent whose arrays are not trained: statistics of a normalisation, a moving
    average. [`minimize`][lerax_fx.minimize] leaves them alone, and their gradient is not taken;
    a stage of their own updates them. They are saved and vmapped with the agent.
    """
