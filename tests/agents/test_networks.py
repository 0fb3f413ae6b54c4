import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lerax_fx import HyperparameterError, WiringError, actor_critic, q_agent
from lerax_fx.agents import (
    CNN,
    GRU,
    MLP,
    Convolution,
    cnn_actor_critic,
    gru_actor_critic,
    mlp_actor_critic,
    orthogonal,
    vector_encoding,
)
from lerax_fx.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

KEY = jax.random.key(0)
VECTOR, IMAGE = Box(-1.0, 1.0, (3,)), Box(0.0, 1.0, (5, 4, 2))


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (6, 2), (2, 6)])
def test_orthogonal(rows, columns):
    matrix = np.asarray(orthogonal(KEY, rows, columns, 0.5))
    product = matrix @ matrix.T if rows < columns else matrix.T @ matrix
    np.testing.assert_allclose(product, 0.25 * np.eye(min(rows, columns)), atol=1e-6)


def test_mlp_is_products_and_activations():
    mlp = jax.jit(lambda: MLP((3, 4, 2), key=KEY, activation="relu", last_gain=0.01))()
    x = np.array([1.0, -2.0, 0.5], np.float32)
    hidden = np.maximum(x @ np.asarray(mlp.layers[0].weight), 0)
    wanted = hidden @ np.asarray(mlp.layers[1].weight)
    np.testing.assert_allclose(mlp(jnp.asarray(x)), wanted, rtol=1e-5)
    gains = [float(np.linalg.norm(layer.weight, 2)) for layer in mlp.layers]
    assert gains == pytest.approx([2**0.5, 0.01], rel=1e-4)


def standardised(x, norm):
    """Layer normalisation over the last axis, as Ba et al. 2016 write it."""
    centred = x - x.mean(-1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return x * np.asarray(norm.weight) + np.asarray(norm.bias)


def with_other_norms(network):
    """Scales and shifts as after some learning."""
    norms = jax.tree.map(lambda x: x + 0.1 * jnp.arange(1.0, len(x) + 1), network.norms)
    return eqx.tree_at(lambda network: network.norms, network, norms)


@pytest.mark.parametrize("activate_last", [False, True])
def test_layer_norm_stands_before_each_activation(activate_last):
    options = {"activation": "relu", "activate_last": activate_last, "layer_norm": True}
    mlp = with_other_norms(MLP((3, 5, 4, 2), key=KEY, **options))
    assert len(mlp.norms) == 2 + activate_last
    x = wanted = np.array([1.0, -2.0, 0.5], np.float32)
    for i, layer in enumerate(mlp.layers):
        wanted = wanted @ np.asarray(layer.weight)
        if i < len(mlp.norms):
            wanted = np.maximum(standardised(wanted, mlp.norms[i]), 0)
    np.testing.assert_allclose(mlp(jnp.asarray(x)), wanted, rtol=1e-4, atol=1e-5)


def test_layer_norm_of_an_image_is_over_its_channels():
    options = {"channels": (3,), "kernel": 2, "layer_norm": True}
    cnn = with_other_norms(CNN((4, 5, 2), (6, 2), key=KEY, activate_last=False, **options))
    assert [len(norms) for norms in (cnn.norms, cnn.mlp.norms)] == [1, 1]
    image = jax.random.normal(KEY, (4, 5, 2))
    features = standardised(np.asarray(cnn.convolutions[0](image)), cnn.norms[0])
    wanted = cnn.mlp(jnp.asarray(np.maximum(features, 0).ravel()))
    np.testing.assert_allclose(cnn(image), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("space", [VECTOR, IMAGE])
def test_without_layer_norm_there_are_no_arrays_for_it(space):
    def leaves(**options):
        agent = jax.eval_shape(lambda: q_agent((space, Discrete(2)), key=KEY, **options))
        return len(jax.tree.leaves(agent))

    layers = 2 if space is VECTOR else 3
    assert leaves(layer_norm=True) == leaves() + 2 * layers
    assert leaves(layer_norm=False) == leaves()


def test_actor_starts_near_uniform_and_critic_does_not():
    agent = jax.jit(lambda: mlp_actor_critic((VECTOR, Discrete(2)), key=KEY, width=8))()
    norms = [float(np.linalg.norm(net.layers[-1].weight)) for net in (agent.actor, agent.critic)]
    assert norms == pytest.approx([0.01 * 2**0.5, 1.0], rel=1e-4)


def test_convolution_is_what_xla_calls_one():
    layer = jax.jit(lambda: Convolution(2, 5, kernel=3, gain=1.0, key=KEY))()
    image = jax.random.normal(KEY, (6, 5, 2))
    kernel = layer.linear.weight.reshape(3, 3, 2, 5)
    wanted = jax.lax.conv_general_dilated(
        image[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    got = jax.jit(lambda layer, image: layer(image))(layer, image)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_cnn_has_the_sizes_of_minatar():
    cnn = jax.eval_shape(lambda: CNN((10, 10, 4), key=KEY))
    assert cnn.convolutions[0].linear.weight.shape == (36, 16)
    assert cnn.mlp.layers[0].weight.shape == (8 * 8 * 16, 128)
    assert jax.eval_shape(lambda cnn: cnn(jnp.zeros((10, 10, 4))), cnn).shape == (128,)


def test_gru_follows_its_equations():
    gru = jax.jit(lambda: GRU(2, 3, key=KEY))()
    x, h = np.array([1.0, -1.0], np.float32), np.array([0.1, 0.2, -0.3], np.float32)
    W, U = (np.split(np.asarray(w), 3, axis=1) for w in (gru.inward.weight, gru.weight))

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    reset, keep = sigmoid(x @ W[0] + h @ U[0]), sigmoid(x @ W[1] + h @ U[1])
    new = np.tanh(x @ W[2] + reset * (h @ U[2]))
    after = jax.jit(lambda gru, x, h: gru.advance(h, gru.drive(x)))(gru, x, h)
    np.testing.assert_allclose(after, (1 - keep) * new + keep * h, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("space", "observation", "wanted"),
    [
        (Discrete(3), jnp.asarray(1), [0, 1, 0]),
        (MultiDiscrete([2, 3]), jnp.asarray([1, 0]), [0, 1, 1, 0, 0]),
        (MultiBinary(2), jnp.asarray([1, 0], jnp.int8), [1, 0]),
        (Box(0, 255, (1, 2), np.uint8), jnp.asarray([[255, 0]], jnp.uint8), [1, 0]),
        (Box(0, 9, (2,), np.int32), jnp.asarray([9, 1]), [9, 1]),
        (Box(False, True, (2,), bool), jnp.asarray([True, False]), [1, 0]),
        (Box(0.0, 1.0, ()), jnp.asarray(0.5), [0.5]),
    ],
    ids=repr,
)
def test_encoding(space, observation, wanted):
    x = vector_encoding("test", space)(observation)
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, wanted, rtol=1e-6)


def test_actor_critic_picks_the_network():
    def made(space, **options):
        return jax.eval_shape(lambda: actor_critic((space, Discrete(2)), key=KEY, **options))

    assert isinstance(made(VECTOR).actor, MLP)
    assert isinstance(made(IMAGE).torso, CNN)
    assert isinstance(made(IMAGE, memory="gru").torso, CNN)
    assert isinstance(made(VECTOR, memory="gru").gru, GRU)
    assert made(VECTOR, width=5, memory="gru").gru.size == 5


def test_errors_say_what_to_do():
    discrete = Discrete(2)
    with pytest.raises(HyperparameterError, match="Did you mean 'relu'"):
        mlp_actor_critic((VECTOR, discrete), key=KEY, activation="rleu")
    with pytest.raises(HyperparameterError, match="width: wanted an int"):
        mlp_actor_critic((VECTOR, discrete), key=KEY, width=0)
    with pytest.raises(HyperparameterError, match="depth"):
        gru_actor_critic((VECTOR, discrete), key=KEY, depth=0)
    with pytest.raises(HyperparameterError, match="Did you mean 'gru'"):
        actor_critic((VECTOR, discrete), key=KEY, memory="grru")
    with pytest.raises(WiringError, match=r"cnn_actor_critic: observations: .*got Box\(3,\)"):
        cnn_actor_critic((VECTOR, discrete), key=KEY)
    with pytest.raises(WiringError, match="images large enough"):
        cnn_actor_critic((Box(0.0, 1.0, (2, 2, 1)), discrete), key=KEY)
    with pytest.raises(WiringError, match="mlp_actor_critic: actions"):
        mlp_actor_critic((VECTOR, Tuple((discrete,))), key=KEY)
    with pytest.raises(WiringError, match="at least one number"):
        actor_critic((Dict({}), discrete), key=KEY)
    with pytest.raises(WiringError, match="at least one number"):
        mlp_actor_critic((Box(0.0, 1.0, (0,)), discrete), key=KEY)
