"""What lerax_fx uses of gymnax, with types."""

from typing import Any

from gymnax.environments.environment import Environment

registered_envs: list[str]

def make(env_id: str, **env_kwargs: Any) -> tuple[Environment, Any]: ...
