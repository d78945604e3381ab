"""Random pictures of one small size, as arrays, as files and as bytes."""
import io
import os

import cv2
import numpy as np
from PIL import Image

SIZE = (12, 16)
STILL = dict(rotation=0.0, flip_horizontal=False, flip_vertical=False)
TURNED = dict(rotation=np.pi / 2, flip_horizontal=True, flip_vertical=True)


def picture(seed=0, channels=3, dtype=np.uint8, size=SIZE):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


def region(value=255):
    mask = np.zeros(SIZE, np.uint8)
    mask[3:7, 4:9] = value
    return mask


def stored(pixels):
    """As OpenCV wants it: BGR, or without a channel axis."""
    return pixels[..., ::-1] if pixels.shape[2:] == (3,) else pixels.reshape(pixels.shape[:2])


def encoded(pixels, extension=".png"):
    return cv2.imencode(extension, stored(pixels))[1].tobytes()


def pillow(kind, mode, **options):
    """Bytes in a form that OpenCV does not write."""
    stream = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def write(path, pixels):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert cv2.imwrite(str(path), stored(pixels))
    return str(path)


def one_line(error, *words):
    """The error is one line with these words in it."""
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def photographs(root, parts, times, size=(40, 60)):
    """Paths root/train/good/<shot>_<part>.png: surfaces of `parts` parts, each `times` times, in other light and a
    little aside."""
    rng, paths = np.random.default_rng(1), []
    for part in range(parts):
        surface = cv2.GaussianBlur(rng.normal(0, 1, (size[0] + 2, size[1] + 2)), (0, 0), 3)
        surface = 128 + 40 * surface / surface.std()
        for shot in range(times):
            y, x = rng.integers(0, 3, 2)
            seen = surface[y:y + size[0], x:x + size[1]] * rng.uniform(0.6, 1) + rng.normal(0, 2, size)
            paths.append(write(f"{root}/train/good/{shot}_{part:03d}.png", np.clip(seen, 0, 255).astype(np.uint8)))
    return sorted(paths)
