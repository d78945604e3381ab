"""Synthetic defects: Perlin noise, the mask cut from it, and the picture disturbed inside that mask.

`perturb` is the noise function P of the method: (X_n, M) = P(X). It is batched, stateless and pure TensorFlow without
host-only ops: the same numbers in eager mode, in a graph, in XLA and inside tf.data, on a CPU and on a GPU. Each sample
depends on its own seed alone, not on its companions in the batch. First everything random is drawn, then applied.
"""

import difflib
from typing import NamedTuple, Tuple

import numpy as np
import tensorflow as tf

from . import anomaly_shapes, anomaly_sources, scoring
from .anomaly_shapes import column
from .errors import InputError

VISIBLE = 2.0 / 255.0  # a defect that changes its pixels by less than this on average is not drawn
FURTHER = 0.5  # probability of each further defect in a disturbed picture
_FURTHER = 0xDEF  # folded into the seed for the further defects
RIM = 0.25  # a blurred edge is cut off where less opacity is left; the pixel just outside a straight edge has 1/4
NEIGHBOURHOOD = 5  # pixels; where it has changed less than VISIBLE on average, the mask does not ask for a find


class NoiseSettings(NamedTuple):
    """What defects are drawn. Pairs are (lowest, highest), drawn uniformly per sample.

    What the shape "blob" covers at one threshold (320 samples of 128 x 128, scales 0-5):

    =====================  ====  ====  ====  ====  ====  ====  ====  =====
    threshold               0.0   0.1   0.2   0.3   0.4   0.5   0.6    0.7
    mean share of picture  49 %  38 %  26 %  17 %  10 %   5 %   2 %  0.4 %
    masks that are empty    0 %   0 %   0 %   2 %   5 %   6 %  10 %   29 %
    =====================  ====  ====  ====  ====  ====  ====  ====  =====

    A "line" covers about 0.9 %, a "spot" 0.5 %, a "rectangle" 1.1 %; `blurred` adds a pixel all round, `contrast` takes
    away what does not stand out. An empty mask, and one below `min_area`, leaves
    the picture as it was, so the share of pictures disturbed stays somewhat below `probability`.
    """

    probability: float = 0.5  # share of the pictures that are disturbed
    threshold: Tuple[float, float] = (0.2, 0.7)  # of the noise, which lies in [-1, 1]
    scales: Tuple[int, int] = (0, 5)  # 2^k lattice cells, k drawn for each axis by itself
    min_area: int = 10  # pixels; a smaller mask is emptied, its picture stays as it was
    opacity: Tuple[float, float] = (0.3, 1.0)  # share of the source in the blend: 1 replaces, 0.1 is a faint stain
    contrast: float = 0.0  # standard deviations of its surroundings by which a defect must stand out, see `_stands_out`
    blurred: float = 0.0  # share of the defects whose edges optics and sensor have blurred, by about a pixel
    grain: float = 0.0  # share of the defects without structure of their own over which the picture's finest goes on
    soft_edges: float = 0.0  # share of the defects whose opacity fades towards their edge, as a stain's does
    matched: float = 0.0  # share of the pasted defects that have the mean colour of what they cover: structure alone
    rotation: float = np.pi / 2  # radians; the noise is turned by an angle within +-rotation
    defects: int = 1  # at most, in one disturbed picture: each further one is there with probability 1/2
    within_roi: float = 0.0  # share of the defects that lie inside the region of interest; the others lie anywhere
    sources: Tuple[Tuple[str, float], ...] = (("color_image", 1.0),)  # (name, weight) out of anomaly_sources.SOURCES
    shapes: Tuple[Tuple[str, float], ...] = (("blob", 1.0),)  # (name, weight) out of anomaly_shapes.SHAPES


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
    finish: tf.Tensor  # (B, 5): soft edges, matched, within the region of interest, blurred, grain


def perturb(image, roi, seed, settings, textures=None):
    """Disturb each picture with its probability -> Perturbed(noisy, mask).

    image (B, H, W, C) float32 in [0, 1], H and W static; roi (B, H, W, 1) {0, 1} or None; seed (B, 2) int32; textures
    (T, h, w, C) uint8 for the source "texture". The mask is empty where nothing was changed. No gradient flows through.
    Raises InputError for settings that make no sense.
    """
    sources, shapes = check(settings, textures, image.shape[3])
    image = tf.convert_to_tensor(image, tf.float32)
    if "cut_paste" in sources:  # a piece cut out has straight edges
        shapes.setdefault("rectangle", 0.0)
    done = _disturb(image, image, roi, seed, settings, sources, shapes, textures)
    for further in range(1, settings.defects):
        seeds = tf.map_fn(lambda one: tf.random.experimental.stateless_fold_in(one, _FURTHER + further, "philox"), seed)
        more = _disturb(done.noisy, image, roi, seeds, settings._replace(probability=FURTHER), sources, shapes, textures)
        disturbed = tf.reduce_max(done.mask, (1, 2, 3)) > 0.0  # a good picture stays good
        added = anomaly_sources.select(disturbed, more.mask, tf.zeros_like(more.mask))
        done = Perturbed(anomaly_sources.select(disturbed, more.noisy, done.noisy), tf.maximum(done.mask, added))
    return done


def _disturb(image, clean, roi, seed, settings, sources, shapes, textures):
    """`perturb` with one defect a picture; `clean` is the picture before any, for what is measured on it."""
    _, height, width, channels = image.shape
    draws = sample(seed, settings, image.shape[1:] if "color_pixel" in sources else (0, 0, channels))
    u = draws.sample
    source_index, shape_index = _choose(u[:, 1], sources), _choose(u[:, 2], shapes)
    if "cut_paste" in sources:
        is_cut = source_index == list(sources).index("cut_paste")
        shape_index = tf.where(is_cut, list(shapes).index("rectangle"), shape_index)
    place = None
    if settings.within_roi and roi is not None:
        place = tf.where((draws.finish[:, 2] < settings.within_roi)[:, None, None, None], roi, 1.0)
    mask = _draw_shapes(draws, settings, shapes, shape_index, place, height, width)
    mask = mask & (u[:, 0] < settings.probability)[:, None, None, None]
    if place is not None:
        mask = mask & (place > 0.0)

    seen = tf.cast(mask, tf.float32)
    matched = draws.finish[:, 1] < settings.matched if settings.matched else None
    source = anomaly_sources.source_image(list(sources), source_index, image, seen, draws.source, textures, matched)
    if settings.grain:
        smooth = tf.gather(tf.constant([name in anomaly_sources.SMOOTH for name in sources]), source_index)
        grainy = tf.clip_by_value(source + clean - _blurred(clean), 0.0, 1.0)
        source = anomaly_sources.select(smooth & (draws.finish[:, 4] < settings.grain), grainy, source)
    opacity = _between(settings.opacity, u[:, 7])[:, None, None, None]
    if settings.blurred:
        blurred = (draws.finish[:, 3] < settings.blurred)[:, None, None, None]
        spread = _blurred(seen)
        edge = tf.where(blurred, tf.where(spread >= RIM, spread, 0.0), seen)
        opacity *= edge
        mask = edge > 0.0 if place is None else (edge > 0.0) & (place > 0.0)
        seen = tf.cast(mask, tf.float32)
    if settings.soft_edges:
        soft = (draws.finish[:, 0] < settings.soft_edges)[:, None, None, None]
        opacity *= tf.where(soft, _fading(seen), 1.0)
    blended = (1.0 - opacity) * image + opacity * source

    # A source may equal the picture (black on black), or nearly so: a mask there would ask the segmenter to guess.
    change = tf.reduce_max(tf.abs(blended - image), axis=3, keepdims=True)
    near = scoring.pooled(change * seen, NEIGHBOURHOOD) > VISIBLE * scoring.pooled(seen, NEIGHBOURHOOD)
    if settings.contrast:
        near = near & _stands_out(blended, image, clean, seen, settings.contrast)
    mask = mask & near & (change > 1e-6)  # more than the rounding of the blend
    seen = tf.cast(mask, tf.float32)
    area = tf.reduce_sum(seen, (1, 2, 3), keepdims=True)
    visible = tf.reduce_sum(change * seen, (1, 2, 3), keepdims=True) > VISIBLE * area
    mask = mask & visible & (area >= settings.min_area)
    pixels = anomaly_sources.select(tf.reshape(mask, [-1]), *(tf.reshape(i, (-1, channels)) for i in (blended, image)))
    return Perturbed(tf.stop_gradient(tf.reshape(pixels, tf.shape(image))), tf.cast(mask, tf.float32))


def sample(seed, settings, pixels=(0, 0, 1)):
    """Draws of a batch from its seeds (B, 2); `pixels` is (H, W, C) of the numbers for color_pixel.

    One stateless draw for each sample, the algorithm named: a sample is the same whatever device it is drawn on and
    whatever else is in its batch.
    """
    nodes, patches = 2 ** settings.scales[1] + 1, anomaly_sources.PATCHES
    sizes = [8, 16, 8, patches * patches * 3, nodes * nodes, int(np.prod(pixels)), 5]
    numbers = tf.map_fn(lambda one: _uniform(one, sum(sizes)), seed, fn_output_signature=tf.float32)
    numbers = tf.ensure_shape(numbers, (None, sum(sizes)))
    per_sample, shape, scalars, grid, lattice, colours, finish = tf.split(numbers, sizes, 1)
    source = anomaly_sources.SourceDraws(
        scalars, tf.reshape(grid, (-1, patches, patches, 3)), tf.reshape(colours, (tf.shape(seed)[0], *pixels))
    )
    return Draws(per_sample, shape, source, tf.reshape(lattice, (-1, nodes, nodes)), finish)


def _uniform(seed, count):
    """`count` numbers in [0, 1), multiples of 2^-24."""
    # From integers by hand: XLA makes floats of the upper bits, TensorFlow's own kernels of the lower ones, so
    # stateless_uniform(dtype=float32) disagrees between them even with the same algorithm (TF 2.15 and 2.21).
    bits = tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")
    return tf.cast(tf.bitwise.bitwise_and(bits, 2**24 - 1), tf.float32) * 2.0**-24


def cells(scales, u):
    """Lattice cells 2^k along one axis, k uniform on the whole numbers of `scales`: (B,) float32, exact."""
    powers = [2.0**k for k in range(scales[0], scales[1] + 1)]
    return tf.gather(tf.constant(powers), tf.cast(u * float(len(powers)), tf.int32))


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
    # A GPU multiplies float32 in TF32, whose 10 bits would move the masks against those of a CPU. float64 is exact
    # everywhere, and the products are small: 10 MFLOP for 256 x 256.
    precision = tf.float64 if tf.config.list_physical_devices("GPU") else tf.float32
    gradients, columns, rows = (tf.cast(t, precision) for t in (gradients, columns, rows))
    inner = tf.matmul(gradients, columns, transpose_b=True)  # (B, 2, n, W)
    inner = tf.reshape(inner, (-1, 2 * lattice.shape[1], width))
    return tf.cast(np.sqrt(2.0) * tf.matmul(rows, inner), tf.float32)


def _axis_weights(cells_, nodes, side):
    """Fade weight and offset of every pixel to every node of one axis: twice (B, side, nodes)."""
    # y * cells / side - node, with the division last: whole numbers up to there, so exact at the nodes and in XLA too.
    at = tf.range(side, dtype=tf.float32)[None, :, None] * cells_[:, None, None]
    offset = (at - tf.range(nodes, dtype=tf.float32) * side) / side
    near = tf.maximum(0.0, 1.0 - tf.abs(offset))
    return near * near * near * (near * (6.0 * near - 15.0) + 10.0), offset


def _draw_shapes(draws, settings, shapes, shape_index, roi, height, width):
    """Boolean (B, H, W, 1): inside the drawn shape. Only the shapes named are computed."""
    u, v = draws.sample, draws.shape
    if set(shapes) & {"blob", "line", "spot"}:
        cells_y, cells_x = cells(settings.scales, u[:, 4]), cells(settings.scales, u[:, 5])
        if "line" in shapes:
            is_line = shape_index == list(shapes).index("line")
            cells_y = tf.where(is_line, tf.minimum(cells_y, anomaly_shapes.LINE_CELLS), cells_y)
            cells_x = tf.where(is_line, tf.minimum(cells_x, anomaly_shapes.LINE_CELLS), cells_x)
        if "spot" in shapes:  # the finest lattice, or the noise would be the same all over a spot
            is_spot, finest = shape_index == list(shapes).index("spot"), 2.0 ** settings.scales[1]
            cells_y, cells_x = tf.where(is_spot, finest, cells_y), tf.where(is_spot, finest, cells_x)
        noise = perlin_noise(draws.lattice, cells_y, cells_x, height, width)
        if settings.rotation:
            noise = anomaly_shapes.turn(noise, (2.0 * u[:, 6] - 1.0) * settings.rotation)
    inside = tf.zeros((1, height, width), tf.bool)
    for index, name in enumerate(shapes):
        if name == "blob":
            drawn = noise > column(_between(settings.threshold, u[:, 3]))
        elif name == "line":
            drawn = anomaly_shapes.line(noise, v, roi)
        elif name == "spot":
            drawn = anomaly_shapes.spots(noise, v, roi)
        else:
            drawn = anomaly_shapes.rectangle(v, roi, height, width)
        inside |= column(shape_index == index) & drawn
    return inside[..., None]


def _stands_out(blended, image, clean, seen, contrast):
    """Where a defect is more than another piece of the same surface: (B, H, W, 1).

    With s the standard deviation around each pixel of the clean picture: the defect shifts the mean of its 5 x 5
    neighbourhood by more than `contrast` * s, or changes the deviation itself by more than half of that.
    """
    usual = contrast * _deviation(clean)
    shift = tf.reduce_max(tf.abs(scoring.pooled((blended - image) * seen, NEIGHBOURHOOD)), 3, keepdims=True)
    structure = tf.abs(_deviation(image + (blended - image) * seen) - _deviation(image))
    return (shift > usual * scoring.pooled(seen, NEIGHBOURHOOD)) | (structure > 0.5 * usual)


def _deviation(image):
    """Standard deviation of the picture around each pixel, the mean of its channels: (B, H, W, 1)."""
    side = max(NEIGHBOURHOOD, _sixteenth(image))
    centred = image - tf.reduce_mean(image, (1, 2), keepdims=True)
    mean = scoring.pooled(centred, side)
    variance = tf.maximum(scoring.pooled(centred * centred, side) - mean * mean, 0.0)
    return tf.sqrt(tf.reduce_mean(variance, 3, keepdims=True))


def _blurred(values):
    """(B, H, W, C) under the smallest binomial window, (1 2 1) / 4 along each axis."""
    padded = tf.pad(values, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    rows = 0.25 * (padded[:, :-2] + padded[:, 2:]) + 0.5 * padded[:, 1:-1]
    return 0.25 * (rows[:, :, :-2] + rows[:, :, 2:]) + 0.5 * rows[:, :, 1:-1]


def _sixteenth(values):
    """1/16 of the shorter side of (B, H, W, C), as an odd number of pixels."""
    return min(values.shape[1:3]) // 16 | 1


def _fading(seen):
    """1 where the mask is thickest, falling towards its edge over 1/16 of the side: (B, H, W, 1)."""
    thick = scoring.pooled(seen, _sixteenth(seen))
    return thick / tf.maximum(tf.reduce_max(thick, (1, 2, 3), keepdims=True), 1e-6)


def _between(pair, u):
    return pair[0] + (pair[1] - pair[0]) * u


def _choose(u, weighted):
    """Index of the entry drawn, (B,) int32, each with probability by its weight."""
    upto = np.cumsum(list(weighted.values())) / sum(weighted.values())
    return tf.reduce_sum(tf.cast(u[:, None] >= tf.constant(upto[:-1], tf.float32), tf.int32), 1)


def check(settings, textures, channels):
    """The sources and shapes of weight above 0 as dicts name -> weight. Raises InputError naming the setting."""
    for key, (low, high) in (("probability", (0.0, 1.0)), ("soft_edges", (0.0, 1.0)), ("matched", (0.0, 1.0)),
                             ("blurred", (0.0, 1.0)), ("grain", (0.0, 1.0)), ("contrast", (0.0, np.inf)),
                             ("within_roi", (0.0, 1.0)), ("defects", (1, np.inf)), ("min_area", (0, np.inf)),
                             ("rotation", (0.0, np.inf))):
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
    return sources, _weights("noise.shapes", settings.shapes, anomaly_shapes.SHAPES)


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
