"""What do the detectors share that measure how far a picture's features are from those of good parts?

    features (B, h, w, C) -> distances (B, h, w) -> enlarged and smoothed (B, H, W) -> anomaly map d^2 / (d^2 + s^2)

s is the largest distance of a held-out good part: the map is 1/2 there, and below 1 everywhere. It rises with d, so that no
order changes. PaDiM and PatchCore differ in the distances, and in the score of a picture.
"""
from typing import Dict, Tuple

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

from ..model import inputs
from ..model.grdnet import Detection

keras = tf.keras


class Fitted(keras.layers.Layer):
    """The numbers that a fit found, as weights by their names."""

    def __init__(self, arrays: Dict[str, np.ndarray]):
        super().__init__(name="fitted", dtype="float32", trainable=False)
        self.names, self.built = tuple(arrays), True
        for name, array in arrays.items():
            array = np.asarray(array)
            weight = self.add_weight(name=name, shape=array.shape, dtype=array.dtype.name, initializer="zeros",
                                     trainable=False)
            weight.assign(array)
            setattr(self, name, weight)

    def arrays(self) -> Dict[str, np.ndarray]:
        return {name: np.array(getattr(self, name).numpy()) for name in self.names}


class FeatureDetector(keras.Model):
    """Detection of images (B, H, W, C) in [0, 1] by the distances of their features from those of good parts.

    Args:
      features: `features.Features`.
      image_size: (H, W), divisible by the largest stride of the features.
      channels: of the pictures, 1 or 3.
      arrays: what `fit` of the subclass's file found; "scale" is s; "known" (h, w) {0, 1}, if it is there, which positions
        of pictures of `image_size` any good part has shown. The others count as good.
      smoothing: standard deviation in pixels of the Gaussian over the enlarged distances; 0: none.
    """

    score_pool = 1      # the score is the maximum of the map itself; None: it is not taken of the map
    one_size = False    # whether it takes pictures of `image_size` only
    reconstructs = False

    def __init__(self, features, image_size: Tuple[int, int], channels: int, arrays, smoothing=4.0, name=None):
        super().__init__(name=name, dtype="float32")
        self.backbone, self.image_size, self.channels = features, tuple(image_size), channels
        self.smoothing, self.total_stride = smoothing, max(features.strides)
        self.fitted = Fitted(arrays)
        known = np.asarray(arrays.get("known", 1.0))
        self.known, self.weight = None if known.all() else known.astype(np.float32), None
        if self.known is not None:
            # Smoothing must not let positions that are not known dilute their neighbours: it is a mean over known ones.
            down, across = (enlarging(side, cells, smoothing) for side, cells in zip(self.image_size, known.shape))
            share = down @ self.known @ across.T
            self.weight = np.divide(1.0, share, out=np.zeros_like(share), where=share > 1e-3)
        self.built = True

    def call(self, images, roi=None, training=False):
        """Detection without a reconstruction. A `roi` (B, H, W, 1) of {0, 1} masks map and score."""
        features = self.backbone(images)  # (B, h, w, C)
        distances = self.of_known(self.distances(features))
        anomaly_map = self.scaled(self.enlarged(distances, images.shape[1:3]))[..., None]
        if roi is not None:
            anomaly_map *= tf.cast(roi, tf.float32)
        return Detection(None, anomaly_map, self.score(features, distances, anomaly_map, roi))

    def predict_step(self, data):
        """Detection of a batch: images, or a dict with "image" and, to mask the result, "roi".

        Keras' `predict` cannot hand over None: the reconstruction is an empty one, (B, H, W, 0).
        """
        batch = inputs.batch_of(data, self.channels, labels_matter=False)
        return self(batch["image"], roi=batch.get("roi"))._replace(reconstruction=batch["image"][..., :0])

    def distances(self, features):
        """(B, h, w, C) -> (B, h, w), 0 or more."""
        raise NotImplementedError

    def of_known(self, distances):
        """`distances` (B, h, w), 0 at positions that are not known; those of another grid as they are."""
        return distances * self.known if self._has_unknown(distances) else distances

    def _has_unknown(self, distances):
        return self.known is not None and distances.shape[1:] == self.known.shape

    def score(self, features, distances, anomaly_map, roi):
        """(B,) in [0, 1): the map's maximum."""
        return tf.reduce_max(anomaly_map, axis=[1, 2, 3])

    def enlarged(self, distances, size):
        """(B, h, w) -> (B, H, W): bilinear, then the Gaussian; both at once as a matrix on each side."""
        down, across = (tf.constant(enlarging(side, cells, self.smoothing))
                        for side, cells in zip(size, distances.shape[1:]))
        enlarged = tf.matmul(tf.matmul(down, distances), across, transpose_b=True)
        return enlarged * self.weight if self._has_unknown(distances) else enlarged

    def scaled(self, distance):
        """d^2 / (d^2 + s^2), in [0, 1)."""
        square = tf.square(distance)
        return square / (square + tf.square(tf.convert_to_tensor(self.fitted.scale)))

    def set_scale(self, batches) -> None:
        """s becomes the largest smoothed distance in `batches` {"image", "roi"}, inside the ROI.

        Held-out pictures that only repeat the training pictures, at no distance but rounding's, leave it as it is.
        """
        @tf.function
        def farthest(images, roi):
            distances = self.enlarged(self.of_known(self.distances(self.backbone(images))), images.shape[1:3])
            return tf.reduce_max(distances * roi[..., 0])

        largest = max((float(farthest(batch["image"], batch["roi"])) for batch in batches), default=0.0)
        if largest > 1e-3 * float(self.fitted.scale.numpy()):
            self.fitted.scale.assign(largest)

    def resized(self, image_size) -> "FeatureDetector":
        """The same detector for pictures of another size, whose weights it shares in value, not in memory."""
        return type(self)(self.backbone, image_size, self.channels, self.fitted.arrays(), self.smoothing)


def enlarging(side: int, cells: int, smoothing: float) -> np.ndarray:
    """(side, cells) float32: `cells` values to `side` ones, linearly between the cells' middles, then smoothed."""
    middles = (np.arange(side) + 0.5) * cells / side - 0.5
    linear = np.stack([np.interp(middles, np.arange(cells), one) for one in np.eye(cells)], axis=1)
    return (gaussian_filter1d(linear, smoothing, axis=0) if smoothing else linear).astype(np.float32)


def inside(roi, stride):
    """(B, H, W, 1) -> (B, h, w) of {0, 1}: the positions of which the ROI covers some."""
    return tf.nn.max_pool2d(tf.cast(roi > 0, tf.float32), stride, stride, "SAME")[..., 0]
