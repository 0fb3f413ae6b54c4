"""Neural networks: linear layers, multilayer perceptrons, convolutions and the GRU."""

import difflib
import functools
import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any, Final, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arguments import check_count, check_counts
from lerax_fx._core.calls import takes_one_argument
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.typing import Flag, Key, Scalar

Activation: TypeAlias = str | Callable[[Array], Array]
"""A name among `ACTIVATIONS`, or an elementwise function without arrays of its own."""


def _identity(x: Array) -> Array:
    return x


ACTIVATIONS: Final = MappingProxyType(
    {
        "elu": jax.nn.elu,
        "gelu": jax.nn.gelu,
        "identity": _identity,
        "leaky_relu": jax.nn.leaky_relu,
        "relu": jax.nn.relu,
        "sigmoid": jax.nn.sigmoid,
        "silu": jax.nn.silu,
        "softplus": jax.nn.softplus,
        "tanh": jnp.tanh,
    }
)
"""The activation functions that have names."""


def activation_function(where: str, activation: Activation) -> Callable[[Array], Array]:
    """The activation function of a name.

    **Raises:** `HyperparameterError` for an unknown name.
    """
    if callable(activation) and takes_one_argument(activation):
        return activation
    name: Any = activation
    if isinstance(name, str) and name in ACTIVATIONS:
        return ACTIVATIONS[name]
    near = difflib.get_close_matches(str(name).lower(), ACTIVATIONS, n=1)
    raise HyperparameterError(
        format_error(
            f"{where}: activation",
            wanted=f"a function, or one of {', '.join(ACTIVATIONS)}",
            got=repr(activation),
            fix=f"Did you mean {near[0]!r}?" if near else "Pick one of those.",
        )
    )


def orthogonal(key: Key, rows: int, columns: int, gain: float) -> Float[Array, "rows columns"]:
    """Orthogonal initialisation: a random matrix whose rows or columns (the fewer) are orthogonal,
    of norm `gain`.

    Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", section 3.
    """
    return orthogonal_layers(key, (rows, columns), (gain,))[0]


def orthogonal_layers(key: Key, sizes: Sequence[int], gains: Sequence[float]) -> list[Array]:
    """Orthogonal initialisation of consecutive layers, with one `gain` for each."""
    return _orthogonal_layers(key, tuple(sizes), tuple(gains))


# Compiled as one: op by op, the first agent of a process takes three times as long.
@functools.partial(jax.jit, static_argnames="sizes")
def _orthogonal_layers(key: Key, sizes: tuple[int, ...], gains: tuple[Any, ...]) -> list[Array]:
    shapes = list(pairwise(sizes))
    # One draw, of a vector, for all layers: PPO's six layers are compiled in half the time
    # that jax.nn.initializers.orthogonal takes for them (0.34 against 0.73 s).
    numbers = jax.random.normal(key, (sum(map(math.prod, shapes)),))
    ends = list(accumulate(map(math.prod, shapes)))[:-1]
    return [
        gain * _orthogonalized(part.reshape(shape))
        for part, shape, gain in zip(jnp.split(numbers, ends), shapes, gains, strict=True)
    ]


def _orthogonalized(matrix: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Uniform over the orthogonal matrices, if the numbers of `matrix` are normal: Mezzadri
    2007, "How to generate random matrices from the classical compact groups", section 5.
    """
    rows, columns = matrix.shape
    tall, upper = jnp.linalg.qr(matrix if rows >= columns else matrix.T)
    tall = tall * jnp.sign(jnp.diagonal(upper))
    return tall if rows >= columns else tall.T


def squeeze_scalar(outputs: Float[Array, "1"]) -> Scalar:
    """A network with one output as one with a scalar output."""
    return outputs[0]


@final
class Linear(eqx.Module):
    """A linear layer, `x @ weight + bias`, its bias initialised to 0."""

    # [inputs, outputs], which under vmap is `X @ W`. Against eqx.nn.Linear's `W @ x` (64-64
    # tanh net, CPU, medians of 60 interleaved, us, in brackets plain batched `X @ W` as
    # flax writes it): batch 4 forward 4.1 to 4.7 (4.5), gradient 10.7 to 10.9 (11.4);
    # 128: 15.7 to 15.6 (15.0), 38.0 to 39.8 (38.0); 2048: 168 to 171 (170), 500 to 508
    # (497). As good as equal; but with batches up to 64 the result of this one does not
    # depend on how the batch is laid out, to the last bit, and that of `W @ x` does.
    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, weight: Float[Array, "inputs outputs"]):
        self.weight = weight
        self.bias = jnp.zeros(weight.shape[-1])

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return x @ self.weight + self.bias


Normalization: TypeAlias = eqx.nn.LayerNorm | eqx.nn.Identity
"""What a vector goes through before it is activated."""


def normalization(size: int, *, layer_norm: bool) -> Normalization:
    """Layer normalisation of vectors of that size, with a learnt scale and shift; or the identity.

    Ba et al. 2016, "Layer Normalization", eq. 4.
    """
    return eqx.nn.LayerNorm(size) if layer_norm else eqx.nn.Identity()


HIDDEN_GAIN: Final = math.sqrt(2)
"""The usual gain of hidden layers in PPO's networks: Huang et al. 2022, "The 37
Implementation Details of Proximal Policy Optimization", detail 2."""


@final
class MLP(eqx.Module):
    """A multilayer perceptron, orthogonally initialised.

    **Arguments:**

    - `sizes`: of the input, of each hidden layer, and of the output.
    - `activation`: its name or a function.
    - `hidden_gain`, `last_gain`: of the initial weights.
    - `activate_last`: whether the output is activated as well.
    - `layer_norm`: whether whatever is activated is normalised before (Ba et al. 2016).

    **Raises:** `HyperparameterError` for an unknown activation or a size below 1.
    """

    layers: tuple[Linear, ...]
    norms: tuple[Normalization, ...]
    activation: Activation = eqx.field(static=True)
    activate_last: bool = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        key: Key,
        activation: Activation = "tanh",
        hidden_gain: float = HIDDEN_GAIN,
        last_gain: float = 1.0,
        activate_last: bool = False,
        layer_norm: bool = False,
    ):
        activation_function("MLP", activation)
        sizes = check_counts("MLP: sizes", sizes)
        count = check_count("MLP: layers", len(sizes) - 1)
        gains = [hidden_gain] * (count - 1) + [last_gain]
        self.layers = tuple(map(Linear, orthogonal_layers(key, sizes, gains)))
        activated = sizes[1:] if activate_last else sizes[1:-1]
        self.norms = tuple(normalization(size, layer_norm=layer_norm) for size in activated)
        self.activation = activation
        self.activate_last = activate_last

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """One vector in, one vector out."""
        activate = activation_function("MLP", self.activation)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = activate(norm(layer(x)))
        return x if self.activate_last else self.layers[-1](x)


Size = tuple[int, int, int]
"""Height, width, channels."""


@final
class Convolution(eqx.Module):
    """A convolution with stride 1 and without padding, over images height x width x channel.

    **Arguments:**

    - `channels`: of the input, and of the output.
    - `kernel`: the width of the square window.
    - `gain`: of the weights, orthogonal as a matrix from windows to channels.
    """

    # The windows are laid out side by side, and the rest is one matrix product. Against
    # lax.conv_general_dilated in NHWC (MinAtar's network, batch 1024 under vmap, CPU,
    # medians of 60 interleaved): gradient 5.7 against 7.4 ms, forward alone 2.3 against 2.0;
    # batch 64: 0.81 against 0.80, 0.39 against 0.45. Training spends most on the first.
    # eqx.nn.Conv2d's layout (channels first) was 10% behind NHWC, and a sum of nine shifted
    # products took three times as long.
    linear: Linear
    kernel: int = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, *, kernel: int, gain: float, key: Key):
        self.kernel = kernel
        self.linear = Linear(orthogonal(key, kernel * kernel * inputs, outputs, gain))

    def __call__(
        self, image: Float[Array, "height width inputs"]
    ) -> Float[Array, "new_height new_width outputs"]:
        """One image to one image, smaller by `kernel - 1` each way."""
        height, width = (size - self.kernel + 1 for size in image.shape[:2])
        offsets = [(i, j) for i in range(self.kernel) for j in range(self.kernel)]
        windows = [image[i : i + height, j : j + width] for i, j in offsets]
        return self.linear(jnp.concatenate(windows, axis=-1))


@final
class CNN(eqx.Module):
    """Convolutions, followed by a multilayer perceptron.

    With the defaults, the network of Young & Tian 2019, "MinAtar: An Atari-Inspired Testbed
    for Thorough and Reproducible Reinforcement Learning Experiments", section 4: a layer of
    16 filters of 3 x 3, and a dense one of 128; relu.

    **Arguments:**

    - `size`: of an image: height, width, channels.
    - `sizes`: of the MLP's layers after the convolutions, the output's last.
    - `channels`: of each convolution. `kernel`: the width of their windows.
    - `layer_norm`: whether whatever is activated is normalised before (Ba et al. 2016); of
      an image, the channels of each place.
    - the others: as in [`MLP`][lerax_fx.agents.MLP].

    **Raises:** `WiringError` if the image is too small for the convolutions;
    `HyperparameterError` for an unknown activation or a size below 1.
    """

    convolutions: tuple[Convolution, ...]
    norms: tuple[Normalization, ...]
    mlp: MLP

    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        size: Size,
        sizes: Sequence[int] = (128,),
        *,
        key: Key,
        channels: Sequence[int] = (16,),
        kernel: int = 3,
        activation: Activation = "relu",
        last_gain: float = HIDDEN_GAIN,
        activate_last: bool = True,
        layer_norm: bool = False,
    ):
        activation_function("CNN", activation)
        kernel = check_count("CNN: kernel", kernel)
        flat_size = _flat_size(size, channels, kernel)
        mlp_key, *keys = jax.random.split(key, len(channels) + 1)
        inputs = (size[2], *channels)
        self.convolutions = tuple(
            Convolution(inputs[i], outputs, kernel=kernel, gain=HIDDEN_GAIN, key=keys[i])
            for i, outputs in enumerate(channels)
        )
        self.norms = tuple(normalization(size, layer_norm=layer_norm) for size in channels)
        self.mlp = MLP(
            (flat_size, *sizes),
            key=mlp_key,
            activation=activation,
            last_gain=last_gain,
            activate_last=activate_last,
            layer_norm=layer_norm,
        )
        self.activation = activation

    def __call__(self, image: Float[Array, "height width channels"]) -> Float[Array, " outputs"]:
        """One image in, one vector out."""
        activate = activation_function("CNN", self.activation)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            image = activate(jax.vmap(jax.vmap(norm))(convolution(image)))
        return self.mlp(image.ravel())


def _flat_size(size: Size, channels: Sequence[int], kernel: int) -> int:
    """The number of features after the convolutions."""
    height, width, last = size
    for i, outputs in enumerate(channels):
        last = check_count(f"CNN: channels[{i}]", outputs)
        height, width = height - kernel + 1, width - kernel + 1
    if min(height, width) < 1:
        raise WiringError(
            format_error(
                "CNN: size",
                wanted=f"images large enough for {len(channels)} convolutions of "
                f"{kernel} x {kernel}",
                got=f"{size[0]} x {size[1]}",
                fix="Take fewer convolutions or smaller kernels.",
            )
        )
    return height * width * last


@final
class CombinedNetwork(eqx.Module):
    """A convolutional network for each image, and an MLP on their features and a vector.

    **Arguments:**

    - `vector`: the size of the vector; may be 0.
    - `images`: height, width and channels of each image.
    - `sizes`: of the MLP's layers, the output's last; each image gives as many features as the
      first of them has units.
    - the others: as in [`CNN`][lerax_fx.agents.CNN].

    **Raises:** as `CNN` does.
    """

    cnns: tuple[CNN, ...]
    mlp: MLP

    def __init__(
        self,
        vector: int,
        images: Sequence[Size],
        sizes: Sequence[int] = (128,),
        *,
        key: Key,
        channels: Sequence[int] = (16,),
        kernel: int = 3,
        activation: Activation = "relu",
        last_gain: float = HIDDEN_GAIN,
        activate_last: bool = True,
        layer_norm: bool = False,
    ):
        mlp_key, *keys = jax.random.split(key, len(images) + 1)
        features = sizes[0]

        def network(size: Size, key: Key) -> CNN:
            return CNN(
                size,
                (features,),
                key=key,
                channels=channels,
                kernel=kernel,
                activation=activation,
                layer_norm=layer_norm,
            )

        self.cnns = tuple(map(network, images, keys))
        self.mlp = MLP(
            (vector + features * len(images), *sizes),
            key=mlp_key,
            activation=activation,
            last_gain=last_gain,
            activate_last=activate_last,
            layer_norm=layer_norm,
        )

    def __call__(self, inputs: tuple[Float[Array, "..."], ...]) -> Float[Array, " outputs"]:
        """The vector and the images, in a tuple, to one vector."""
        vector, *images = inputs
        features = [cnn(image) for cnn, image in zip(self.cnns, images, strict=True)]
        return self.mlp(jnp.concatenate([vector, *features]))


@final
class GRU(eqx.Module):
    """A gated recurrent unit, orthogonally initialised.

    Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for
    Statistical Machine Translation", eqs. 5 to 8, with the reset gate after the product
    (its variant "v3" in Chung et al. 2014, and what cuDNN computes):

        r = sigmoid(W_r x + b_r + U_r h)
        z = sigmoid(W_z x + b_z + U_z h)
        n = tanh(W_n x + b_n + r * (U_n h + c))
        h' = n + z * (h - n)
    """

    inward: Linear
    weight: Float[Array, "size gates"]
    bias: Float[Array, " size"]

    def __init__(self, inputs: int, size: int, *, key: Key):
        inward_key, *keys = jax.random.split(key, 4)
        self.inward = Linear(orthogonal(inward_key, inputs, 3 * size, 1.0))
        squares = [orthogonal(key, size, size, 1.0) for key in keys]
        self.weight = jnp.concatenate(squares, axis=1)
        self.bias = jnp.zeros(size)

    @property
    def size(self) -> int:
        """The size of the hidden state."""
        return self.bias.shape[-1]

    def drive(self, x: Float[Array, " inputs"]) -> Float[Array, " gates"]:
        """The input's part of the gates: `(3 * size,)`. It does not depend on the hidden state, so
        for a trajectory it is one product, outside of the scan.
        """
        return self.inward(x)

    def advance(
        self, memory: Float[Array, " size"], drive: Float[Array, " gates"]
    ) -> Float[Array, " size"]:
        """The hidden state after one step."""
        recall = memory @ self.weight
        gates = 2 * self.size
        reset, keep = jnp.split(jax.nn.sigmoid(drive[:gates] + recall[:gates]), 2)
        new = jnp.tanh(drive[gates:] + reset * (recall[gates:] + self.bias))
        return new + keep * (memory - new)

    def initial_memory(self) -> Float[Array, " size"]:
        """Zeros."""
        return jnp.zeros_like(self.bias)

    def unroll(
        self,
        memory: Float[Array, " size"],
        drives: Float[Array, "time gates"],
        resets: Bool[Array, " time"],
    ) -> tuple[Float[Array, " size"], Float[Array, "time size"]]:
        """The last hidden state, and that after each step of one trajectory; it is reset where
        `resets` is true. Only the recurrence itself is in the scan.
        """
        initial = self.initial_memory()

        def advance(memory: Array, inputs: tuple[Array, Flag]) -> tuple[Array, Array]:
            drive, reset = inputs
            memory = self.advance(jnp.where(reset, initial, memory), drive)
            return memory, memory

        return jax.lax.scan(advance, memory, (drives, resets))


@final
class Critics(eqx.Module):
    """An ensemble of multilayer perceptrons from observation and action to a Q-value.

    - `networks`: one, whose arrays have a further axis in front, that of the critics.
    """

    networks: MLP

    def __init__(
        self, number: int, inputs: int, widths: Sequence[int], *, key: Key, activation: Activation
    ):
        def network(key: Key) -> MLP:
            return MLP((inputs, *widths, 1), key=key, activation=activation)

        self.networks = jax.vmap(network)(jax.random.split(key, number))

    def __call__(
        self, features: Float[Array, " features"], action: Float[Array, " numbers"]
    ) -> Float[Array, " critics"]:
        """The values of one action."""
        inputs = jnp.concatenate([features, action])
        return jax.vmap(lambda network: squeeze_scalar(network(inputs)))(self.networks)
