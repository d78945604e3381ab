"""How alike two pictures are, wherever the product lies in them: their highest correlation over all shifts.

Coarse, so that neither the camera's noise nor a turn's blur has a say. No TensorFlow.
"""
import math

import cv2
import numpy as np

from . import foreground

COARSE = 32   # pixels of the long side at which pictures are compared
BLANK = 1e-3  # deviation of a picture in [0, 1] below which there is nothing to see


def small(pixels, image_size, longest=COARSE):
    """(h, w, C) float32 in [0, 1] of the aspect that `image_size` (H, W) has, its long side of `longest` pixels.

    16 bit by `foreground.levels`: a camera's 10 or 12 bit would have no contrast to speak of.
    """
    height, width = sides(image_size, longest)
    shrunk = cv2.resize(foreground.levels(pixels) / 255, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk.reshape(height, width, -1)


def sides(size, longest):
    """[h, w] of the aspect of `size`, the longer one of `longest` pixels."""
    return [max(1, round(side * longest / max(size))) for side in size]


def spectra(pictures):
    """(N, C, h, w // 2 + 1) complex, of pictures (N, H, W, C): each colour of mean 0, each picture of length 1."""
    height, width = sides(pictures.shape[1:3], COARSE)
    coarse = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)
                       for p in pictures]).transpose(0, 3, 1, 2)
    coarse = coarse - coarse.mean(axis=(2, 3), keepdims=True)
    length = np.sqrt(np.square(coarse).sum(axis=(1, 2, 3), keepdims=True))
    return np.fft.rfft2(coarse / np.maximum(length, BLANK * math.sqrt(coarse[0].size)))


def correlations(one, others, side):
    """(N,) in [-1, 1]: the highest of a spectrum (C, ...) with each of `others` (N, C, ...); `side` (h, w) is theirs."""
    return np.fft.irfft2((one.conj() * others).sum(axis=1), s=side).max(axis=(1, 2))
