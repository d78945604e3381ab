"""Picture strips of a run: every panel has its name and its place, and short runs have some."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.training import callbacks


def panels(channels):
    """Two samples of 8 x 16; panel k is grey k / 10."""
    return [np.full((2, 8, 16, channels if name in ("image", "noisy", "reconstruction") else 1), i / 10, np.float32)
            for i, name in enumerate(callbacks.PANELS)]


@pytest.mark.parametrize("channels", [1, 3])
def test_panels_stand_apart_under_their_names(channels):
    drawn = callbacks.strips(panels(channels))
    assert drawn.dtype == np.uint8 and drawn.shape == (2, 20 + 7 * 8, 6 * (7 * 16 + 6), 3)  # 16 x 7 = 112 pixels wide
    for i in range(6):
        left = i * (112 + 6)
        assert (drawn[:, 20:, left:left + 112] == round(25.5 * i)).all()
        assert (drawn[:, :, left + 112:left + 118] == 255).all()  # the gap
        assert (drawn[:, :20, left:left + 112] < 128).any()       # the name


def test_wide_pictures_are_not_enlarged():
    wide = [np.zeros((1, 4, 200, 1), np.float32)] * 6
    assert callbacks.strips(wide).shape == (1, 24, 6 * 206, 3)


def steps(folder):
    return [event.step for file in sorted((folder / "tensorboard").iterdir())
            for record in tf.data.TFRecordDataset(str(file))
            for event in [tf.compat.v1.Event.FromString(record.numpy())] if event.summary.value]


@pytest.mark.parametrize("epochs, every, expected", [(3, 5, [1, 3]), (1, 8, [1]), (6, 2, [1, 2, 4, 6])])
def test_short_runs_have_strips(tmp_path, epochs, every, expected):
    class Model(tf.keras.Model):
        """Gives what it is given: `ImageLogger` asks for the two things that a GRDNet does."""

        def perturbed(self, batch):
            return dict(batch, noisy=batch["image"], mask=batch["roi"])

        def call(self, image):
            from grdnet_tf.model.grdnet import Detection
            return Detection(image, image[..., :1], tf.reduce_max(image, axis=(1, 2, 3)))

    batch = {"image": tf.zeros((2, 8, 8, 3)), "roi": tf.ones((2, 8, 8, 1))}
    logger = callbacks.ImageLogger(str(tmp_path), batch, every)
    logger.set_model(Model())
    logger.set_params({"epochs": epochs})
    for epoch in range(epochs):
        logger.on_epoch_end(epoch)
    assert steps(tmp_path) == expected
