"""Networks for images."""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.bounds import check_count
from lerax_fx.agents.activation import Activation, activation_function
from lerax_fx.agents.linear import Linear, orthogonal
from lerax_fx.agents.mlp import HIDDEN_GAIN, MLP
from lerax_fx.agents.normalization import Normalization, normalization
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Key

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
    """Convolutions, and an MLP on what is left of the image.

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
    """How many numbers are left after the convolutions."""
    height, width, last = size
    for i, outputs in enumerate(channels):
        last = check_count(f"CNN: channels[{i}]", outputs)
        height, width = height - kernel + 1, width - kernel + 1
    if min(height, width) < 1:
        raise WiringError(
            explain(
                "CNN: size",
                wanted=f"images large enough for {len(channels)} convolutions of "
                f"{kernel} x {kernel}",
                got=f"{size[0]} x {size[1]}",
                fix="Take fewer convolutions or smaller kernels.",
            )
        )
    return height * width * last
