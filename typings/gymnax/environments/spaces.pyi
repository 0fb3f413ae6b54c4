from typing import Any

class Space: ...

class Discrete(Space):
    n: int
    shape: tuple[int, ...]
    dtype: Any

class Box(Space):
    low: Any
    high: Any
    shape: tuple[int, ...]
    dtype: Any

class Dict(Space):
    spaces: dict[str, Any]

class Tuple(Space):
    spaces: tuple[Any, ...]
