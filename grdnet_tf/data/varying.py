"""A good picture as it might have come another time: lighter or darker, less sharp, noisier, a little aside, compressed.

What was seen to vary like this among good parts is no defect. A detector that is fitted on pictures as they are knows
them to a fraction of a grey value, and rejects every good part once a camera's gain or a JPEG's quality is another.
"""
import cv2
import numpy as np

GAIN, GAMMA = 0.1, 0.05   # 1 +- so much; the second of the picture's brightest value, which it keeps
ASIDE = 1 / 200           # of the shorter side, in any direction
FOCUS = (0.3, 0.5)        # pixels, the Gaussian's standard deviation; half of the pictures
NOISE = 0.01              # standard deviation at most, of the picture's brightest value
QUALITY = (85, 98)        # of JPEG; half of the pictures, of 8 bit only


def varied(image: np.ndarray, rng: np.random.Generator, depth=8) -> np.ndarray:
    """`image` (H, W, C) float32 in [0, 1] with changes drawn by `rng`; the same shape and range."""
    gain, gamma = 1 + GAIN * rng.uniform(-1, 1), 1 + GAMMA * rng.uniform(-1, 1)
    peak = float(image.max())
    changed = np.clip(gain * peak * (image / (peak or 1)) ** gamma, 0, 1)
    far = round(ASIDE * min(image.shape[:2]))
    down, right = rng.integers(-far, far + 1, 2)
    changed = np.pad(changed, ((far, far), (far, far), (0, 0)), "edge")[far + down:, far + right:]
    changed = changed[:image.shape[0], :image.shape[1]]
    sharp, sigma = rng.random() < 0.5, rng.uniform(*FOCUS)
    if not sharp:
        changed = cv2.GaussianBlur(changed, (0, 0), sigma).reshape(image.shape)
    noise = rng.uniform(0, NOISE) * peak
    changed = np.clip(changed + noise * rng.standard_normal(image.shape), 0, 1).astype(np.float32)
    raw, quality = rng.random() < 0.5, int(rng.integers(QUALITY[0], QUALITY[1] + 1))
    return changed if raw or depth > 8 else compressed(changed, quality)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """`image` (H, W, 1 or 3) float32 in [0, 1], written as JPEG of 8 bit and read again."""
    pixels = np.round(image[..., ::-1] * 255).astype(np.uint8)
    file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    read = cv2.imdecode(file, cv2.IMREAD_GRAYSCALE if image.shape[2] == 1 else cv2.IMREAD_COLOR)
    return read.reshape(image.shape)[..., ::-1].astype(np.float32) / 255
