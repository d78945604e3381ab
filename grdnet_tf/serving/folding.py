"""The inference half of a trained model: only the networks that it needs, batch norm folded into the convolutions.

    y = gamma (conv(x) - mean) / sqrt(variance + epsilon) + beta  =  conv'(x) + bias',
    kernel' = kernel s,  bias' = beta - mean s,  s = gamma / sqrt(variance + epsilon), one number an output channel.
"""
import numpy as np

from ..baselines.fused import Fused
from ..compat import all_layers, keras
from ..model.layers import ConvBlock
from ..model.stepped import SteppedModel


def inference_half(model, image_size=None):
    """A new model that detects as `model` does, up to rounding, with no more weights than that takes.

    `image_size` (H, W), default that of `model`: the size that the new model is for (not where `one_size`).
    What is fitted in one pass has no other half; it is made for that size, where it is another.
    """
    if isinstance(model, Fused):
        return Fused(inference_half(model.grdnet), model.padim)
    if not isinstance(model, SteppedModel):
        return model if image_size in (None, model.image_size) else model.resized(image_size)
    size = tuple(image_size or model.image_size)
    plain = type(model)(**{**model.architecture, **model.training_only, "image_size": size})
    for trained, folded in zip(_parts(model), _parts(plain)):
        if len(trained.weights) == len(folded.weights):  # nothing to fold
            folded.set_weights(trained.get_weights())
            continue
        norms = {id(block.conv): block.norm for block in all_layers(trained) if isinstance(block, ConvBlock)}
        for source, target in zip(_weighted(trained), _weighted(folded)):
            target.set_weights(_folded(source, norms.get(id(source))))
    return plain


def parameters(model) -> int:
    """Numbers that inference needs."""
    return sum(int(np.prod(weight.shape)) for part in _parts(model) for weight in part.weights)


def _parts(model):
    if isinstance(model, Fused):
        return (*_parts(model.grdnet), model.padim)
    return model.inference_parts() if isinstance(model, SteppedModel) else (model,)


def _weighted(network):
    """The convolutions and dense layers of a network, in the same order for two of the same architecture."""
    return [layer for layer in all_layers(network) if hasattr(layer, "kernel")]


def _folded(layer, norm):
    """[kernel, bias] of `layer` followed by `norm`, as float32; without `norm` its own weights."""
    weights = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
    if norm is not None:
        gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in norm.get_weights())
        scale = gamma / np.sqrt(variance + norm.epsilon)
        transposed = isinstance(layer, keras.layers.Conv2DTranspose)  # its kernel is (height, width, out, in)
        weights = [weights[0] * (scale[:, None] if transposed else scale), beta - mean * scale]
    return [weight.astype(np.float32) for weight in weights]
