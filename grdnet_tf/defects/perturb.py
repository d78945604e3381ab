"""Synthetic defects: Perlin noise, the mask cut from it, and the picture disturbed inside that mask.

`perturb` is the noise function P of the method: (X_n, M) = P(X). It is batched, stateless and pure TensorFlow without
host-only ops: the same numbers in eager mode, in a graph, in XLA and inside tf.data, on a CPU and on a GPU. Each sample
depends on its own seed alone, not on its companions in the batch. First everything random is drawn, then applied.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..ops import blurred, local_mean, planes, pooled
from ..options import Defects
from . import real as reals
from . import shapes as outlines
from . import sources as fillings
from .perlin import cells, perlin_noise, uniform
from .seamless import seamless
from .shapes import column

VISIBLE = 2.0 / 255.0  # a defect that changes its pixels by less than this on average is not drawn
FURTHER = 0.5  # probability of each further defect in a disturbed picture
_FURTHER = 0xDEF  # folded into the seed for the further defects
RIM = 0.25  # a blurred edge is cut off where less opacity is left; the pixel just outside a straight edge has 1/4
WARP_CELLS = 4.0  # of the lattice, at most, for what is bent
NEIGHBOURHOOD = 5  # pixels; where it has changed less than VISIBLE on average, the mask does not ask for a find


class Perturbed(NamedTuple):
    """`noisy` (B, H, W, C) equals the image bit for bit where `mask` (B, H, W, 1), {0, 1}, is 0."""

    noisy: tf.Tensor
    mask: tf.Tensor


class Draws(NamedTuple):
    """Every random number of a batch, uniform in [0, 1)."""

    sample: tf.Tensor  # (B, 8): disturbed, source, shape, threshold, cells y, cells x, rotation, opacity
    shape: tf.Tensor  # (B, 16): the parameters of the drawn shape
    source: fillings.SourceDraws
    lattice: tf.Tensor  # (B, n, n): directions of the gradients
    finish: tf.Tensor  # (B, 5): soft edges, matched, within the region of interest, blurred, grain


def perturb(image, roi, seed, settings, textures=None, real=None, sparing=False):
    """Disturb each picture with its probability -> Perturbed(noisy, mask).

    image (B, H, W, C) float32 in [0, 1], H and W static; roi (B, H, W, 1) {0, 1} or None; seed (B, 2) int32; textures
    (T, h, w, C) uint8 for the source "texture"; real, pieces as of `real.pasted`, for "real", which has its own shape.
    The mask is empty where nothing was changed. No gradient flows through. `sparing`: each defect is worked out for
    those pictures alone that have one, the same in half of the time; XLA, whose shapes are fixed, cannot do it.
    Raises InputError for settings that make no sense.
    """
    sources, shapes = check(settings, textures, image.shape[3], real)
    image = tf.convert_to_tensor(image, tf.float32)
    if "cut_paste" in sources:  # a piece cut out has straight edges
        shapes.setdefault("rectangle", 0.0)
    if "warp" in sources:
        shapes.setdefault("blob", 0.0)
    colours = image.shape[1:] if "color_pixel" in sources else (0, 0, image.shape[3])
    made = _with_some if sparing else _with_all
    noisy, mask = image, tf.zeros_like(image[..., :1])
    for number in range(settings.defects):
        draws = sample(_of_defect(seed, number), settings, colours)
        if number:  # a good picture stays good
            has = (draws.sample[:, 0] < FURTHER) & (tf.reduce_max(mask, (1, 2, 3)) > 0.0)
        else:
            has = draws.sample[:, 0] < settings.probability
        noisy, mask = made(has, noisy, mask, image, roi, draws, settings, sources, shapes, textures, real)
    return Perturbed(tf.stop_gradient(noisy), mask)


def _of_defect(seed, number):
    """The seeds of the `number`th defect of each picture."""
    if not number:
        return seed
    return tf.map_fn(lambda one: tf.random.experimental.stateless_fold_in(one, _FURTHER + number, "philox"), seed)


def _with_all(has, noisy, mask, *rest):
    """(noisy, mask) with one more defect where `has` (B,)."""
    more = _disturb(has, noisy, *rest)
    return more.noisy, tf.maximum(mask, more.mask)


def _with_some(has, noisy, mask, clean, roi, draws, *rest):
    """The same, worked out for those rows alone."""
    rows = tf.where(has)[:, 0]
    # No kernel has to know what to do with no picture at all: the first stays as it is then.
    rows = tf.cond(tf.size(rows) > 0, lambda: rows, lambda: tf.zeros((1,), tf.int64))
    few = tf.nest.map_structure(lambda part: None if part is None else tf.gather(part, rows),
                                (has, noisy, clean, roi, draws))
    more = _disturb(*few, *rest)
    masks = tf.maximum(tf.gather(mask, rows), more.mask)
    return (tf.tensor_scatter_nd_update(noisy, rows[:, None], more.noisy),
            tf.tensor_scatter_nd_update(mask, rows[:, None], masks))


def _disturb(has, image, clean, roi, draws, settings, sources, shapes, textures, real):
    """`image` with one defect where `has` (B,); `clean` is the picture before any, for what is measured on it."""
    _, height, width, channels = image.shape
    u = draws.sample
    source_index, shape_index = _choose(u[:, 1], sources), _choose(u[:, 2], shapes)
    if "cut_paste" in sources:
        is_cut = source_index == list(sources).index("cut_paste")
        shape_index = tf.where(is_cut, list(shapes).index("rectangle"), shape_index)
    is_warp = None
    if "warp" in sources:  # nothing else is broad enough to be bent
        is_warp = source_index == list(sources).index("warp")
        shape_index = tf.where(is_warp, list(shapes).index("blob"), shape_index)
    place = None
    if settings.within_roi and roi is not None:
        place = tf.where((draws.finish[:, 2] < settings.within_roi)[:, None, None, None], roi, 1.0)
    mask, piece = _draw_shapes(draws, settings, shapes, shape_index, is_warp, place, height, width), None
    if "real" in sources:
        piece, own = reals.pasted(real, draws.source.scalars, place, height, width)
        mask = fillings.select(source_index == list(sources).index("real"), own, tf.broadcast_to(mask, tf.shape(own)))
    mask = mask & has[:, None, None, None]
    if place is not None:
        mask = mask & (place > 0.0)

    seen = tf.cast(mask, tf.float32)
    matched = draws.finish[:, 1] < settings.matched if settings.matched else None
    source = fillings.source_image(list(sources), source_index, image, seen, draws.source, textures, matched, piece)
    if settings.grain:
        smooth = tf.gather(tf.constant([name in fillings.SMOOTH for name in sources]), source_index)
        grainy = tf.clip_by_value(source + clean - blurred(clean), 0.0, 1.0)
        source = fillings.select(smooth & (draws.finish[:, 4] < settings.grain), grainy, source)
    if settings.seamless:
        pasted = tf.gather(tf.constant([name in (*fillings.PASTED, "shift") for name in sources]), source_index)
        which = pasted & (draws.finish[:, 1] >= 1.0 - settings.seamless)  # those not matched come first
        source = fillings.select(which, seamless(source, image, seen), source)
    opacity = _between(settings.opacity, u[:, 7])
    opacity = (opacity if is_warp is None else tf.where(is_warp, 1.0, opacity))[:, None, None, None]  # no ghosts
    if settings.blurred:
        by_optics = (draws.finish[:, 3] < settings.blurred)[:, None, None, None]
        spread = blurred(seen)
        edge = tf.where(by_optics, tf.where(spread >= RIM, spread, 0.0), seen)
        opacity *= edge
        mask = edge > 0.0 if place is None else (edge > 0.0) & (place > 0.0)
        seen = tf.cast(mask, tf.float32)
    if settings.soft_edges:
        soft = (draws.finish[:, 0] < settings.soft_edges)[:, None, None, None]
        opacity *= tf.where(soft, _fading(seen), 1.0)
    blended = (1.0 - opacity) * image + opacity * source

    # A source may equal the picture (black on black), or nearly so: a mask there would ask the segmenter to guess.
    change = tf.reduce_max(tf.abs(blended - image), axis=3, keepdims=True)
    near = pooled(change * seen, NEIGHBOURHOOD) > VISIBLE * pooled(seen, NEIGHBOURHOOD)
    if settings.contrast:
        stands_out = _stands_out(blended, image, clean, seen, settings.contrast)
        if is_warp is not None:  # what is bent has the brightness and the structure of its surroundings
            stands_out |= is_warp[:, None, None, None]
        near = near & stands_out
    mask = mask & near & (change > 1e-6)  # more than the rounding of the blend
    seen = tf.cast(mask, tf.float32)
    area = tf.reduce_sum(seen, (1, 2, 3), keepdims=True)
    visible = tf.reduce_sum(change * seen, (1, 2, 3), keepdims=True) > VISIBLE * area
    mask = mask & visible & (area >= settings.min_area)
    pixels = fillings.select(tf.reshape(mask, [-1]), *(tf.reshape(i, (-1, channels)) for i in (blended, image)))
    return Perturbed(tf.reshape(pixels, tf.shape(image)), tf.cast(mask, tf.float32))


def sample(seed, settings, pixels=(0, 0, 1)):
    """Draws of a batch from its seeds (B, 2); `pixels` is (H, W, C) of the numbers for color_pixel.

    One stateless draw for each sample, the algorithm named: a sample is the same whatever device it is drawn on and
    whatever else is in its batch.
    """
    nodes, patches = 2 ** settings.scales[1] + 1, fillings.PATCHES
    sizes = [8, 16, 8, patches * patches * 3, nodes * nodes, int(np.prod(pixels)), 5]
    numbers = tf.map_fn(lambda one: uniform(one, sum(sizes)), seed, fn_output_signature=tf.float32)
    numbers = tf.ensure_shape(numbers, (None, sum(sizes)))
    per_sample, shape, scalars, grid, lattice, colours, finish = tf.split(numbers, sizes, 1)
    source = fillings.SourceDraws(
        scalars, tf.reshape(grid, (-1, patches, patches, 3)), tf.reshape(colours, (tf.shape(seed)[0], *pixels))
    )
    return Draws(per_sample, shape, source, tf.reshape(lattice, (-1, nodes, nodes)), finish)


def _draw_shapes(draws, settings, shapes, shape_index, is_warp, roi, height, width):
    """Boolean (B, H, W, 1): inside the drawn shape. Only the shapes named are computed; a warp's is a broad one."""
    u, v = draws.sample, draws.shape
    if set(shapes) & {"blob", "line", "spot"}:
        cells_y, cells_x = cells(settings.scales, u[:, 4]), cells(settings.scales, u[:, 5])
        if "line" in shapes:
            is_line = shape_index == list(shapes).index("line")
            cells_y = tf.where(is_line, tf.minimum(cells_y, outlines.LINE_CELLS), cells_y)
            cells_x = tf.where(is_line, tf.minimum(cells_x, outlines.LINE_CELLS), cells_x)
        if is_warp is not None:
            cells_y, cells_x = (tf.where(is_warp, tf.clip_by_value(cells, 2.0, WARP_CELLS), cells)
                                for cells in (cells_y, cells_x))
        if "spot" in shapes:  # the finest lattice, or the noise would be the same all over a spot
            is_spot, finest = shape_index == list(shapes).index("spot"), 2.0 ** settings.scales[1]
            cells_y, cells_x = tf.where(is_spot, finest, cells_y), tf.where(is_spot, finest, cells_x)
        noise = perlin_noise(draws.lattice, cells_y, cells_x, height, width)
        if settings.rotation:
            noise = outlines.turn(noise, (2.0 * u[:, 6] - 1.0) * settings.rotation)
    inside = tf.zeros((1, height, width), tf.bool)
    for index, name in enumerate(shapes):
        if name == "blob":
            level = _between(settings.threshold, u[:, 3])
            drawn = noise > column(level if is_warp is None else tf.where(is_warp, 0.5 * level, level))
        elif name == "line":
            drawn = outlines.line(noise, v, roi)
        elif name == "spot":
            drawn = outlines.spots(noise, v, roi)
        else:
            drawn = outlines.rectangle(v, roi, height, width)
        inside |= column(shape_index == index) & drawn
    return inside[..., None]


def _stands_out(blended, image, clean, seen, contrast):
    """Where a defect is more than another piece of the same surface: (B, H, W, 1).

    With s the standard deviation around each pixel of the clean picture: the defect shifts the mean of its 5 x 5
    neighbourhood by more than `contrast` * s, or changes the deviation itself by more than half of that.
    """
    changed = planes((blended - image) * seen)
    side = max(NEIGHBOURHOOD, _sixteenth(image))
    usual, before, after = (_deviation(maps, side) for maps in (planes(clean), planes(image), planes(image) + changed))
    usual = contrast * usual
    shift = tf.reduce_max(tf.abs(local_mean(changed, NEIGHBOURHOOD)), 1)
    inside = tf.reshape(local_mean(planes(seen), NEIGHBOURHOOD), tf.shape(shift))
    return ((shift > usual * inside) | (tf.abs(after - before) > 0.5 * usual))[..., None]


def _deviation(maps, side):
    """Standard deviation of the pictures (B, C, H, W) around each pixel, the mean of their channels: (B, H, W)."""
    maps = maps - 0.5  # around 0, or the difference of the squares is rounding
    mean = tf.reduce_mean(tf.square(local_mean(maps, side)), 1)
    squares = local_mean(tf.reduce_mean(tf.square(maps), 1, keepdims=True), side)
    return tf.sqrt(tf.maximum(tf.reshape(squares, tf.shape(mean)) - mean, 0.0))


def _sixteenth(values):
    """1/16 of the shorter side of (B, H, W, C), as an odd number of pixels."""
    return min(values.shape[1:3]) // 16 | 1


def _fading(seen):
    """1 where the mask is thickest, falling towards its edge over 1/16 of the side: (B, H, W, 1)."""
    thick = pooled(seen, _sixteenth(seen))
    return thick / tf.maximum(tf.reduce_max(thick, (1, 2, 3), keepdims=True), 1e-6)


def _between(pair, u):
    return pair[0] + (pair[1] - pair[0]) * u


def _choose(u, weighted):
    """Index of the entry drawn, (B,) int32, each with probability by its weight."""
    upto = np.cumsum(list(weighted.values())) / sum(weighted.values())
    return tf.reduce_sum(tf.cast(u[:, None] >= tf.constant(upto[:-1], tf.float32), tf.int32), 1)


def check(settings: Defects, textures, channels, real=None):
    """The sources and shapes of weight above 0 as dicts name -> weight. InputError for pictures that do not fit."""
    sources, shapes = ({name: weight for name, weight in weights.items() if weight > 0}
                       for weights in (settings.sources, settings.shapes))
    if "texture" in sources:
        if textures is None:
            raise InputError("noise.sources: 'texture' needs a folder of texture images, none was given")
        if textures.shape[3] != channels:
            raise InputError(f"noise.sources: textures have {textures.shape[3]} channels, the images {channels}")
    if "real" in sources and real is None:
        raise InputError("noise.sources: 'real' needs pieces of real defects, none were given")
    return sources, shapes
