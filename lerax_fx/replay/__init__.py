"""Memory of steps, and learning from it."""

from lerax_fx.replay.replay import Replay, ReplayState, replay
from lerax_fx.replay.ring import Ring

__all__ = ["Replay", "ReplayState", "Ring", "replay"]
