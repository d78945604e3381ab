"""What do fixed wavelets see in a picture? Nothing is trained, so there is nothing to download and no licence with it.

    images (B, H, W, 1 or 3) [0, 1] -> (B, H / s, W / s, channels), s the smallest stride

Scattering (Bruna & Mallat 2013): the energies |x * psi| of wavelets of some scales and orientations, the energies
||x * psi| * psi'| that those have at the next scale, averaged over the cells of the grid; here their logarithms, in which
stronger light only adds a number. Beside them how strong the strongest bright and dark line of a cell is, and what
colour. Of each larger stride, averages over squares of neighbouring cells.
"""
from typing import Sequence

import numpy as np
import tensorflow as tf

from ..storage import fingerprint

keras = tf.keras

ORIENTATIONS = 4
FIRST, SECOND = 0.8, 1.6    # pixels of their own level, standard deviation across the wavelets of either order
LENGTH = 2.0                # along them, in those across
REACH = 3.6                 # kernels end after so many
FLOOR = 3e-4                # energies below it are alike: 1/13 of a grey value of 8 bit
LOG, MEAN, CHROMA = 0.9, 3.0, 5.0  # bring logarithms, mean colours and their differences to a scale that `ridge` suits
VERSION = 2                 # raised where the same numbers give other activations
LIGHT, DARK = 0.3, 0.05     # every picture's mean, whatever its exposure, if that leaves more than so much


class Scattering(keras.layers.Layer):
    """Log energies of wavelets at the `strides`, as `features.Features`: (B, H, W, C) -> (B, H / s, W / s, channels).

    Args:
      colours: C, 1 or 3.
      strides: powers of 2; s is the smallest, and has log2(s) + 1 scales. A larger one t gives averages of the energies
        over 2 t / s + 1 cells a side. The sides of a picture must be divisible by s.
      neighbourhood: side of the square over which each activation is averaged at last (PatchCore); 1: none.
    """

    rounding = 10  # times that of a network: logarithms of energies near 0 enlarge that of the convolutions

    def __init__(self, colours: int, strides: Sequence[int] = (8, 16), neighbourhood=1, name="scattering"):
        super().__init__(name=name, dtype="float32", trainable=False)
        self.strides, self.neighbourhood, self.colours = tuple(sorted(set(strides))), neighbourhood, colours
        self.levels = self.strides[0].bit_length()
        self.first, self.second = wavelets(FIRST), wavelets(SECOND)
        side = 2 * self.strides[0]
        self.channels = self(np.zeros((1, side, side, colours), np.float32)).shape[-1]

    def call(self, images):
        # Around 0: no wavelet answers to the mean, but sums of small numbers are exact.
        images = images * (LIGHT / tf.maximum(tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True), DARK)) - LIGHT
        grey = tf.reduce_mean(images, axis=-1, keepdims=True)
        energies = self._energies(grey)
        colours = [MEAN * self._cells(images), self._spread(images)]
        if self.colours == 3:
            red, green, blue = tf.split(images, 3, axis=-1)
            chroma = tf.concat([red - green, 0.5 * (red + green) - blue], axis=-1)
            colours += [CHROMA * self._cells(chroma), self._spread(chroma)]
            for level, coarser in enumerate(self._pyramid(chroma)):
                if level:  # at full resolution half of the pixels' colours are the camera's guess (Bayer), or JPEG's
                    energies.append(self._cells(_energy(*_filtered(coarser, self.first)), level))
        energies = logarithm(tf.concat(energies, axis=-1))
        wide = [tf.nn.avg_pool2d(energies, 2 * (stride // self.strides[0]) + 1, 1, "SAME") for stride in self.strides[1:]]
        found = tf.concat([energies, *colours, *wide], axis=-1)
        return tf.nn.avg_pool2d(found, self.neighbourhood, 1, "SAME") if self.neighbourhood > 1 else found

    def _energies(self, grey):
        """A list of (B, H / s, W / s, .): both orders, and the strongest lines, of every level of the pyramid."""
        found = []
        for level, picture in enumerate(self._pyramid(grey)):
            even, odd = _filtered(picture, self.first)
            energy = _energy(even, odd)
            lines = [tf.nn.relu(tf.reduce_max(sign * even, axis=-1, keepdims=True)) for sign in (1, -1)]
            found += [self._cells(energy, level), self._cells(tf.abs(even), level, tf.nn.max_pool2d),
                      *(self._cells(line, level) for line in lines)]
            if level + 1 < self.levels:
                found.append(self._again(energy, level))
        return found

    def _again(self, energy, level):
        """The energies that those of a level have one scale up, (B, H / s, W / s, 4 times as many).

        By the first wavelets two levels lower, a small part of the work, or where the grid is one level lower by
        wavelets twice as wide.
        """
        lower = min(2, self.levels - 1 - level)
        for _ in range(lower):
            energy = tf.nn.avg_pool2d(energy, 2, 2, "SAME")
        return self._cells(_energy(*_filtered(energy, self.first if lower == 2 else self.second)), level + lower)

    def _pyramid(self, pictures):
        """`pictures`, and what is left of them at each halving of their sides."""
        for level in range(self.levels):
            yield pictures
            pictures = tf.nn.avg_pool2d(pictures, 2, 2, "SAME")

    def _cells(self, values, level=0, how=tf.nn.avg_pool2d):
        """The mean, or maximum, of each cell of `values` at a level of the pyramid."""
        side = self.strides[0] >> level
        return how(values, side, side, "SAME") if side > 1 else values

    def _spread(self, pictures):
        """The logarithm of the standard deviation within each cell."""
        variance = self._cells(tf.square(pictures)) - tf.square(self._cells(pictures))
        return logarithm(tf.sqrt(tf.maximum(variance, 1e-6)))

    def digest(self) -> str:
        """SHA-256 of all that the activations depend on."""
        return fingerprint({"first": self.first, "second": self.second,
                            "numbers": np.array([VERSION, FLOOR, LOG, MEAN, CHROMA, LIGHT, DARK, self.neighbourhood,
                                                 *self.strides])})


def logarithm(energies):
    return LOG * tf.math.log(energies + FLOOR)


def wavelets(sigma: float) -> np.ndarray:
    """(k, k, 1, 2 ORIENTATIONS) float32: lines (even), then edges (odd), of each orientation; absolute values sum to 1.

    The second and the first derivative of a Gaussian, `LENGTH` times as long as it is wide; the lines' mean is 0.
    """
    reach = int(np.ceil(REACH * sigma))
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1].astype(np.float64)
    lines, edges = [], []
    for angle in np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS:
        across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        gaussian = np.exp(-0.5 * (np.square(across / sigma) + np.square(along / (LENGTH * sigma))))
        line = (np.square(across / sigma) - 1.0) * gaussian
        lines.append(line - gaussian * line.sum() / gaussian.sum())
        edges.append(across * gaussian)
    kernels = np.stack(lines + edges, axis=-1)[:, :, None]
    kernels /= np.abs(kernels).sum(axis=(0, 1))
    return np.where(np.abs(kernels) < 1e-7, 0.0, kernels).astype(np.float32)  # rounding, which may differ


def _filtered(pictures, kernels):
    """(even, odd), each (B, H, W, C ORIENTATIONS), of every channel by itself; borders go on as they end.

    The channels go into the batch: one of a single channel takes half of the time of a depthwise convolution or less.
    """
    channels, both = pictures.shape[-1], kernels.shape[-1]
    padded = _edged(pictures, kernels.shape[0] // 2)
    single = tf.transpose(padded, (0, 3, 1, 2)) if channels > 1 else padded
    found = tf.nn.conv2d(tf.reshape(single, (-1, *padded.shape[1:3], 1)), kernels, 1, "VALID")  # (B C, H, W, both)
    height, width = found.shape[1:3]
    found = tf.transpose(tf.reshape(found, (-1, channels, height, width, both)), (0, 2, 3, 1, 4))
    return [tf.reshape(half, (-1, height, width, channels * both // 2)) for half in tf.split(found, 2, axis=-1)]


def _edged(pictures, n):
    """Edge values repeated n times on each side: a picture may be smaller than n, and no converter lacks an operator."""
    for axis in (1, 2):
        first, last = (tf.gather(pictures, [0], axis=axis), tf.gather(pictures, [pictures.shape[axis] - 1], axis=axis))
        times = [n if i == axis else 1 for i in range(4)]
        pictures = tf.concat([tf.tile(first, times), pictures, tf.tile(last, times)], axis=axis)
    return pictures


def _energy(even, odd):
    return tf.sqrt(tf.square(even) + tf.square(odd) + 1e-8)
