from typing import Any, NamedTuple

class DifferentiallyPrivateAggregateState(NamedTuple):
    rng_key: Any
