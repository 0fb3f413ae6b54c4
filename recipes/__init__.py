"""Ready-made algorithms: each a short file to read, to import, or to run."""

from recipes import a2c, ppo

__all__ = ["a2c", "ppo"]
