"""What lerax_fx uses of rlax, with types: numbers may be traced."""

from typing import NamedTuple

from jax import Array
from jax.typing import ArrayLike

class VTraceOutput(NamedTuple):
    errors: Array
    pg_advantage: Array
    q_estimate: Array

def truncated_generalized_advantage_estimation(
    r_t: Array,
    discount_t: Array,
    lambda_: ArrayLike,
    values: Array,
    stop_target_gradients: bool = False,
) -> Array: ...
def lambda_returns(
    r_t: Array,
    discount_t: Array,
    v_t: Array,
    lambda_: ArrayLike = 1.0,
    stop_target_gradients: bool = False,
) -> Array: ...
def n_step_bootstrapped_returns(
    r_t: Array,
    discount_t: Array,
    v_t: Array,
    n: int,
    lambda_t: ArrayLike = 1.0,
    stop_target_gradients: bool = False,
) -> Array: ...
def vtrace_td_error_and_advantage(
    v_tm1: Array,
    v_t: Array,
    r_t: Array,
    discount_t: Array,
    rho_tm1: Array,
    lambda_: ArrayLike = 1.0,
    clip_rho_threshold: ArrayLike = 1.0,
    clip_pg_rho_threshold: ArrayLike = 1.0,
    stop_target_gradients: bool = True,
    sample_mask: Array | None = None,
) -> VTraceOutput: ...
def clipped_surrogate_pg_loss(
    prob_ratios_t: Array,
    adv_t: Array,
    epsilon: ArrayLike,
    use_stop_gradient: bool = True,
) -> Array: ...
def categorical_l2_project(z_p: Array, probs: Array, z_q: Array) -> Array: ...
def quantile_regression_loss(
    dist_src: Array,
    tau_src: Array,
    dist_target: Array,
    huber_param: float = 0.0,
    stop_target_gradients: bool = True,
) -> Array: ...
def huber_loss(x: Array, delta: ArrayLike = 1.0) -> Array: ...
def l2_loss(predictions: Array, targets: Array | None = None) -> Array: ...
