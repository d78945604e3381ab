"""Pictures larger than the network's: predict overlapping tiles and blend them smoothly.

Memory: the picture's own reconstruction and map, and one batch of tiles, whatever the number of tiles.
"""
import numpy as np

from .scoring import anomaly_score


def predict_tiled(predict, images, tile, overlap, pool=21, batch=8, multiple=1, one_size=False):
    """(reconstruction (B, H, W, C), anomaly map (B, H, W, 1), score (B,)) of pictures of any size, float32.

    The last tile of a row or column is moved back inside the picture instead of being padded, so that the network sees
    nothing but picture. Where tiles overlap, the weight of each falls linearly from 1 to 0 towards its own edge. A
    picture no larger than a tile is predicted as it is.

    Args:
      predict: (N, h, w, C) -> (reconstruction or None, anomaly map, ...); called on whole batches of one shape.
      images: (B, H, W, C).
      tile: side of a tile, or (height, width).
      overlap: pixels that neighbouring tiles share at least, 0 <= overlap < tile.
      pool: side of the score's average pool; the score is taken from the blended map.
      batch: tiles at once.
      multiple: what the network needs the sides to be divisible by; a smaller picture is continued by reflection.
      one_size: the network takes whole tiles only; a smaller picture is continued to one.
    """
    tile = (tile, tile) if isinstance(tile, int) else tuple(tile)
    if not 0 <= overlap < min(tile):
        raise ValueError(f"overlap {overlap} must be 0 or more and less than the tile, {tile[0]} x {tile[1]}")
    if any(side % multiple for side in tile):
        raise ValueError(f"a tile of {tile[0]} x {tile[1]} is not divisible by {multiple}")
    images = np.asarray(images, np.float32)
    parts = [_one(predict, image, tile, overlap, batch, tile if one_size else (multiple, multiple)) for image in images]
    reconstructions, maps = zip(*parts)
    reconstructions, maps = None if reconstructions[0] is None else np.stack(reconstructions), np.stack(maps)
    return reconstructions, maps, np.asarray(anomaly_score(maps, pool))


def starts(side, tile, overlap):
    """Where tiles begin along a side: every tile - overlap pixels, the last one flush with the end."""
    if side <= tile:
        return [0]
    return list(range(0, side - tile, tile - overlap)) + [side - tile]


def _one(predict, image, tile, overlap, batch, multiple):
    height, width = image.shape[:2]
    target = [-(-side // m) * m if side < t else side for side, t, m in zip((height, width), tile, multiple)]
    pad = [(0, target[0] - height), (0, target[1] - width), (0, 0)]
    image = np.pad(image, pad, mode="reflect" if min(height, width) > 1 else "edge")  # again and again where it must
    tile = [min(side, t) for side, t in zip(target, tile)]
    corners = [(y, x) for y in starts(target[0], tile[0], overlap) for x in starts(target[1], tile[1], overlap)]
    weight = _ramp(tile[0], overlap)[:, None, None] * _ramp(tile[1], overlap)[None, :, None]
    blended, total = 0.0, np.zeros((*target, 1), np.float32)
    for first in range(0, len(corners), batch):
        chosen = corners[first:first + batch]
        tiles = np.stack([image[y:y + tile[0], x:x + tile[1]] for y, x in chosen])
        if len(corners) > batch:  # always the same shape: a compiled network is traced once
            tiles = np.concatenate([tiles, np.repeat(tiles[-1:], batch - len(chosen), axis=0)])
        found = np.concatenate([np.asarray(part, np.float32) for part in predict(tiles)[:2] if part is not None], axis=-1)
        if first == 0:
            blended = np.zeros((*target, found.shape[-1]), np.float32)
        for (y, x), values in zip(chosen, found):
            here = np.s_[y:y + tile[0], x:x + tile[1]]
            blended[here] += weight * values
            total[here] += weight
    if len(corners) == 1:
        blended = found[0]  # bit for bit what the network gave
    else:
        blended /= total
    blended = blended[:height, :width]
    reconstruction = blended[..., :-1] if blended.shape[-1] > 1 else None
    return reconstruction, np.clip(blended[..., -1:], 0, 1)  # a mean of 1s may round to above 1


def _ramp(side, overlap):
    """Weights along a tile's side: 1 inside, falling towards both edges over the overlap, never 0."""
    edge = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5).astype(np.float32)
    return np.minimum(edge / max(overlap, 0.5), 1.0).astype(np.float32)
