"""Synthetic defects: Perlin noise, the mask cut from it, and the picture disturbed inside that mask.

`perturb` is the noise function P of the method: (X_n, M) = P(X). It is batched, stateless and pure TensorFlow without
host-only ops: the same numbers in eager mode, in a graph, in XLA and inside tf.data, on a CPU and on a GPU. Each sample
depends on its own seed alone, not on its companions in the batch. First everything random is drawn, then applied.
"""

import difflib
from typing import NamedTuple, Tuple

import numpy as np
import tensorflow as tf

from grdnet_tf import anomaly_sources
from grdnet_tf.errors import InputError

SHAPES = ("blob", "line", "spot", "rectangle")
SPOTS = 4  # at most, in one picture
VISIBLE = 1e-3  # a pixel that changes by less (a quarter of an 8-bit grey level) is not part of the defect


class NoiseSettings(NamedTuple):
    """What defects are drawn. Pairs are (lowest, highest), drawn uniformly per sample.

    The share of the picture that a mask covers depends on the threshold (shape "blob", scales 0-5, any size):
    MEASURE
    """

    probability: float = 0.5  # share of the pictures that are disturbed
    threshold: Tuple[float, float] = (0.2, 0.7)  # of the noise, which lies in [-1, 1]
    scales: Tuple[int, int] = (0, 5)  # 2^k lattice cells, k drawn for each axis by itself
    min_area: int = 10  # pixels; a smaller mask is emptied, its picture stays as it was
    opacity: Tuple[float, float] = (0.3, 1.0)  # share of the source in the blend: 1 replaces, 0.1 is a faint stain
    rotation: float = np.pi / 2  # radians; the noise is turned by an angle within +-rotation
    within_roi: bool = False  # nothing is drawn outside the region of interest
    sources: Tuple[Tuple[str, float], ...] = (("color_image", 1.0),)  # (name, weight) out of SOURCES
    shapes: Tuple[Tuple[str, float], ...] = (("blob", 1.0),)  # (name, weight) out of SHAPES


class Perturbed(NamedTuple):
    """`noisy` (B, H, W, C) equals the image bit for bit where `mask` (B, H, W, 1), {0, 1}, is 0."""

    noisy: tf.Tensor
    mask: tf.Tensor


class Draws(NamedTuple):
    """Every random number of a batch, uniform in [0, 1)."""

    sample: tf.Tensor  # (B, 8): disturbed, source, shape, threshold, cells y, cells x, rotation, opacity
    shape: tf.Tensor  # (B, 16): the parameters of the drawn shape
    source: anomaly_sources.SourceDraws
    lattice: tf.Tensor  # (B, n, n): directions of the gradients


def perturb(image, roi, seed, settings, textures=None):
    """Disturb each picture with its probability -> Perturbed(noisy, mask).

    image (B, H, W, C) float32 in [0, 1], H and W static; roi (B, H, W, 1) {0, 1} or None; seed (B, 2) int32; textures
    (T, h, w, C) uint8 for the source "texture". The mask is empty where nothing was changed. No gradient flows through.
    Raises InputError for settings that make no sense.
    """
    sources, shapes = _check(settings, textures, image.shape[3])
    image = tf.convert_to_tensor(image, tf.float32)
    _, height, width, channels = image.shape
    draws = sample(seed, settings, image.shape[1:] if "color_pixel" in sources else (0, 0, channels))
    u = draws.sample
    source_index, shape_index = _choose(u[:, 1], sources), _choose(u[:, 2], shapes)
    if "cut_paste" in sources:  # a piece cut out has straight edges
        shapes.setdefault("rectangle", 0.0)
        is_cut = source_index == list(sources).index("cut_paste")
        shape_index = tf.where(is_cut, list(shapes).index("rectangle"), shape_index)
    mask = _draw_shapes(draws, settings, shapes, shape_index, roi if settings.within_roi else None, height, width)
    mask = mask & (u[:, 0] < settings.probability)[:, None, None, None]
    if settings.within_roi and roi is not None:
        mask = mask & (roi > 0.0)

    seen = tf.cast(mask, tf.float32)
    source = None
    for index, name in enumerate(sources):
        candidate = anomaly_sources.source_image(name, image, seen, draws.source, textures)
        chosen = (source_index == index)[:, None, None, None]
        source = candidate if source is None else tf.where(chosen, candidate, source)
    opacity = _between(settings.opacity, u[:, 7])[:, None, None, None]
    blended = (1.0 - opacity) * image + opacity * source

    # A source may by chance equal the picture (black on black): there is nothing to find there.
    mask = mask & (tf.reduce_max(tf.abs(blended - image), axis=3, keepdims=True) > VISIBLE)
    area = tf.reduce_sum(tf.cast(mask, tf.int32), (1, 2, 3), keepdims=True)
    mask = mask & (area >= settings.min_area)
    noisy = tf.stop_gradient(tf.where(mask, blended, image))
    return Perturbed(noisy, tf.cast(mask, tf.float32))


def sample(seed, settings, pixels=(0, 0, 1)):
    """Draws of a batch from its seeds (B, 2); `pixels` is (H, W, C) of the numbers for color_pixel.

    One stateless draw for each sample, the algorithm named: a sample is the same whatever device it is drawn on and
    whatever else is in its batch.
    """
    nodes, patches = 2 ** settings.scales[1] + 1, anomaly_sources.PATCHES
    sizes = [8, 16, 8, patches * patches * 3, nodes * nodes, int(np.prod(pixels))]
    numbers = tf.map_fn(lambda one: _uniform(one, sum(sizes)), seed, fn_output_signature=tf.float32)
    numbers = tf.ensure_shape(numbers, (None, sum(sizes)))
    per_sample, shape, scalars, grid, lattice, colours = tf.split(numbers, sizes, 1)
    source = anomaly_sources.SourceDraws(
        scalars, tf.reshape(grid, (-1, patches, patches, 3)), tf.reshape(colours, (tf.shape(seed)[0], *pixels))
    )
    return Draws(per_sample, shape, source, tf.reshape(lattice, (-1, nodes, nodes)))


def _uniform(seed, count):
    """`count` numbers in [0, 1), multiples of 2^-24."""
    # From integers by hand: XLA makes floats of the upper bits, TensorFlow's own kernels of the lower ones, so
    # stateless_uniform(dtype=float32) disagrees between them even with the same algorithm (TF 2.15 and 2.21).
    bits = tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")
    return tf.cast(tf.bitwise.bitwise_and(bits, 2**24 - 1), tf.float32) * 2.0**-24


def cells(scales, u):
    """Lattice cells 2^k along one axis, k uniform on the whole numbers of `scales`: (B,) float32, exact."""
    powers = tf.constant([2.0**k for k in range(scales[0], scales[1] + 1)])
    return tf.gather(powers, tf.cast(u * len(powers), tf.int32))


def perlin_noise(lattice, cells_y, cells_x, height, width):
    """Gradient noise (Perlin 1985, fade of 2002): (B, height, width) in [-1, 1], 0 at the nodes of the lattice.

    lattice (B, n, n): the direction of the gradient of each node as a share of a full turn; cells_y, cells_x (B,), at
    most n - 1. The noise at (y, x) is the sum over nodes (a, b) of w(y, a) w(x, b) (g(a, b) . d), with d the offset
    from the node and w = fade(1 - |d|) within one cell. As w and each part of d depend on one axis only, it is

        noise = W_y G_x (W_x d_x)^T + (W_y d_y) G_y W_x^T

    two batched matrix products without a gather. Scaled by sqrt(2): unit gradients alone reach 1/sqrt(2).
    """
    angle = 2.0 * np.pi * lattice
    weight_y, offset_y = _axis_weights(cells_y, lattice.shape[1], height)  # (B, H, n)
    weight_x, offset_x = _axis_weights(cells_x, lattice.shape[2], width)  # (B, W, n)
    gradients = tf.stack([tf.cos(angle), tf.sin(angle)], 1)  # (B, 2, n, n): along x, along y
    columns = tf.stack([weight_x * offset_x, weight_x], 1)  # (B, 2, W, n)
    rows = tf.concat([weight_y, weight_y * offset_y], 2)  # (B, H, 2n)
    inner = tf.matmul(gradients, columns, transpose_b=True)  # (B, 2, n, W)
    inner = tf.reshape(inner, (-1, 2 * lattice.shape[1], width))
    return np.sqrt(2.0) * tf.matmul(rows, inner)


def _axis_weights(cells_, nodes, side):
    """Fade weight and offset of every pixel to every node of one axis: twice (B, side, nodes)."""
    at = tf.range(side, dtype=tf.float32)[None, :, None] * cells_[:, None, None] / side
    offset = at - tf.range(nodes, dtype=tf.float32)
    near = tf.maximum(0.0, 1.0 - tf.abs(offset))
    return near * near * near * (near * (6.0 * near - 15.0) + 10.0), offset


def _draw_shapes(draws, settings, shapes, shape_index, roi, height, width):
    """Boolean (B, H, W, 1): inside the drawn shape. Only the shapes named are computed."""
    u, v = draws.sample, draws.shape
    if set(shapes) & {"blob", "line", "spot"}:
        scales = settings.scales
        noise = perlin_noise(draws.lattice, cells(scales, u[:, 4]), cells(scales, u[:, 5]), height, width)
        if settings.rotation:
            noise = _turn(noise, (2.0 * u[:, 6] - 1.0) * settings.rotation)
    inside = tf.zeros((1, height, width), tf.bool)
    for index, name in enumerate(shapes):
        if name == "blob":
            drawn = noise > _column(_between(settings.threshold, u[:, 3]))
        elif name == "line":
            drawn = _line(noise, v, roi)
        elif name == "spot":
            drawn = _spots(noise, v, roi)
        else:
            drawn = _rectangle(v, roi, height, width)
        inside |= _column(shape_index == index) & drawn
    return inside[..., None]


def _line(noise, v, roi):
    """Scratches, cracks, hairs: a contour of the noise, some pixels thick, cut to a disc around one of its points."""
    _, height, width = noise.shape
    side = min(height, width)
    centre_y, centre_x = _places(v[:, 0:1], v[:, 1:2], roi, height, width)
    at = tf.cast(centre_y, tf.int32) * width + tf.cast(centre_x, tf.int32)  # (B, 1)
    level = tf.gather(tf.reshape(noise, (-1, height * width)), at, batch_dims=1)  # the contour goes through the centre
    step = 2  # pixels each way, so that the slope does not see the steps that the turned noise has
    padded = tf.pad(noise, [[0, 0], [step, step], [step, step]], "SYMMETRIC")
    slope_y = padded[:, 2 * step :, step:-step] - padded[:, : -2 * step, step:-step]
    slope_x = padded[:, step:-step, 2 * step :] - padded[:, step:-step, : -2 * step]
    slope = tf.sqrt(tf.square(slope_y) + tf.square(slope_x)) / (2.0 * step)  # of the noise, per pixel
    thickness = 1.5 + v[:, 2] * side / 64.0
    on_contour = tf.abs(noise - level[:, :, None]) < 0.5 * _column(thickness) * slope
    reach = _column(_log_between(0.05, 0.4, v[:, 3]) * side)
    return on_contour & (_distance(centre_y, centre_x, height, width) < reach)


def _spots(noise, v, roi):
    """Specks, pores, stains: one to SPOTS discs of 3 pixels to 1/12 of the side across, dented by the noise."""
    _, height, width = noise.shape
    smallest, largest = 1.5, max(1.5, min(height, width) / 24.0)
    count = tf.cast(v[:, 0] * SPOTS, tf.int32)  # one less than the number of spots
    centre_y, centre_x = _places(v[:, 1 : 1 + SPOTS], v[:, 5 : 5 + SPOTS], roi, height, width)  # (B, SPOTS)
    inside = tf.zeros_like(noise, tf.bool)
    for spot in range(SPOTS):
        radius = _column(_log_between(smallest, largest, v[:, 9 + spot]))
        distance = _distance(centre_y[:, spot : spot + 1], centre_x[:, spot : spot + 1], height, width)
        inside |= _column(spot <= count) & (distance < radius * (1.0 + 0.6 * noise))
    return inside


def _rectangle(v, roi, height, width):
    """From a scar to a square, at any angle (the shapes of CutPaste, Li et al. 2021)."""
    side = min(height, width)
    centre_y, centre_x = _places(v[:, 0:1], v[:, 1:2], roi, height, width)
    y = tf.range(height, dtype=tf.float32)[None, :, None] - centre_y[:, :, None]
    x = tf.range(width, dtype=tf.float32)[None, None, :] - centre_x[:, :, None]
    angle = _column(np.pi * v[:, 4])
    along, across = tf.cos(angle) * x + tf.sin(angle) * y, tf.cos(angle) * y - tf.sin(angle) * x
    length, breadth = _log_between(0.05, 0.4, v[:, 2]) * side, _log_between(0.01, 0.25, v[:, 3]) * side
    return (tf.abs(along) < 0.5 * _column(length)) & (tf.abs(across) < 0.5 * tf.maximum(_column(breadth), 2.0))


def _places(u, v, roi, height, width):
    """Whole pixel coordinates y, x (B, m) as floats: anywhere, or with a ROI one of its pixels, all equally likely."""
    if roi is None:
        return tf.floor(u * height), tf.floor(v * width)
    roi = tf.cast(roi[..., 0] > 0.0, tf.float32)  # (B, H, W)
    y = _pick(tf.reduce_sum(roi, 2)[:, None, :], u)  # first a row, by the number of pixels it has, then one of those
    return y, _pick(tf.gather(roi, tf.cast(y, tf.int32), batch_dims=1), v)


def _pick(weights, u):
    """Index drawn by weight, the last if all are 0: weights (B, m or 1, n), u (B, m) -> (B, m) float."""
    upto = tf.cumsum(weights, axis=2)
    index = tf.reduce_sum(tf.cast(upto <= u[:, :, None] * upto[:, :, -1:], tf.float32), 2)
    return tf.minimum(index, weights.shape[2] - 1.0)


def _distance(centre_y, centre_x, height, width):
    """Pixels from the centre (B, 1): (B, H, W)."""
    y = tf.range(height, dtype=tf.float32)[None, :, None] - centre_y[:, :, None]
    x = tf.range(width, dtype=tf.float32)[None, None, :] - centre_x[:, :, None]
    return tf.sqrt(tf.square(y) + tf.square(x))


def _turn(noise, angle):
    """The noise turned about its centre by `angle` (B,) radians, reflected at the borders, nearest pixel."""
    _, height, width = noise.shape
    y = tf.range(height, dtype=tf.float32)[None, :, None] - 0.5 * (height - 1)
    x = tf.range(width, dtype=tf.float32)[None, None, :] - 0.5 * (width - 1)
    cos, sin = _column(tf.cos(angle)), _column(tf.sin(angle))
    from_y = tf.cast(tf.round(cos * y - sin * x + 0.5 * (height - 1)), tf.int32)
    from_x = tf.cast(tf.round(cos * x + sin * y + 0.5 * (width - 1)), tf.int32)
    return anomaly_sources.look_up(noise[..., None], from_y, from_x)[..., 0]


def _column(values):
    return values[:, None, None]  # (B,) -> (B, 1, 1), to meet (B, H, W)


def _between(pair, u):
    return pair[0] + (pair[1] - pair[0]) * u


def _log_between(lowest, highest, u):
    return lowest * tf.exp(u * float(np.log(highest / lowest)))


def _choose(u, weighted):
    """Index of the entry drawn, (B,) int32, each with probability by its weight."""
    upto = np.cumsum(list(weighted.values())) / sum(weighted.values())
    return tf.reduce_sum(tf.cast(u[:, None] >= tf.constant(upto[:-1], tf.float32), tf.int32), 1)


def _check(settings, textures, channels):
    """The sources and shapes of weight above 0 as dicts name -> weight. Raises InputError naming the setting."""
    for key, (low, high) in (("probability", (0.0, 1.0)), ("min_area", (0, np.inf)), ("rotation", (0.0, np.inf))):
        if not low <= getattr(settings, key) <= high:
            raise InputError(f"noise.{key}: {getattr(settings, key)!r} is outside {low} to {high}")
    for key, (low, high) in (("threshold", (-1.0, 1.0)), ("scales", (0, 10)), ("opacity", (0.0, 1.0))):
        first, last = getattr(settings, key)
        if not low <= first <= last <= high:
            raise InputError(f"noise.{key}: {(first, last)} must be two numbers, rising, within {low} to {high}")
    sources = _weights("noise.sources", settings.sources, anomaly_sources.SOURCES)
    if "texture" in sources:
        if textures is None:
            raise InputError("noise.sources: 'texture' needs a folder of texture images, none was given")
        if textures.shape[3] != channels:
            raise InputError(f"noise.sources: textures have {textures.shape[3]} channels, the images {channels}")
    return sources, _weights("noise.shapes", settings.shapes, SHAPES)


def _weights(key, pairs, known):
    for name, weight in pairs:
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
            raise InputError(f"{key}: unknown {name!r}, did you mean {nearest!r}? Known: {', '.join(known)}")
        if not weight >= 0:
            raise InputError(f"{key}: the weight of {name!r} is {weight!r}, expected 0 or more")
    weighted = {name: float(weight) for name, weight in pairs if weight > 0}
    if not weighted:
        raise InputError(f"{key}: no entry has a weight above 0")
    return weighted
