"""What goes with which method: each reads its own keys, and refuses the others instead of ignoring them."""
import pytest

from grdnet_tf.config import load_config, replace
from grdnet_tf.errors import InputError
from grdnet_tf.options import METHODS, READ


@pytest.mark.parametrize("method, key, value", [
    ("grdnet", "features.strides", [4]), ("ganomaly", "loss.focal_gamma", 3), ("ganomaly", "loss.ssim", 2),
    ("ganomaly", "noise.probability", 1), ("ganomaly", "network.score_pool", 5), ("ganomaly", "features.ridge", 1),
    ("draem", "loss.adversarial", 2), ("draem", "loss.segmentation_to_generator", "true"),
    ("draem", "network.latent", 8), ("draem", "loss.roi_reading", "intersection"), ("padim", "noise.probability", 1), ("padim", "train.epochs", 3),
    ("padim", "features.neighbours", 5), ("padim", "data.rotation", 0), ("patchcore", "features.ridge", 1),
    ("patchcore", "network.latent", 8), ("patchcore", "validation.views", 3), ("patchcore", "train.ema", 0.9)])
def test_a_key_that_the_method_does_not_read_is_an_error(method, key, value):
    with pytest.raises(InputError) as caught:
        load_config(method if method != "grdnet" else None, [f"{key}={value}"])
    assert str(caught.value).startswith(f"{key} = ") and f"does not go with method: {method}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["padim", "patchcore"])
def test_what_is_fitted_draws_defects_at_its_end_too(method):
    assert load_config(method).validation.drawn == 16
    assert load_config(method, ["validation.drawn=0"]).validation.drawn == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_key_that_it_reads_is_one(method):
    config = load_config()
    for section, keys in READ[method].items():
        for key in keys or ():
            assert key in type(getattr(config, section)).model_fields, f"{section}.{key}"


@pytest.mark.parametrize("file, overrides, words", [
    ("ganomaly", ["data.crop=[64,64]"], "data.crop does not go with method: ganomaly"),
    ("ganomaly", ["data.image_size=[96,128]", "network.widths=[4,4,4,4,4,4]"], "96 is not divisible by 64, 2 to the"),
    ("ganomaly", ["train.monitor=val_segmentation"], "val_segmentation does not go with method: ganomaly"),
    ("draem", ["data.image_size=[256,240]"], "240 is not divisible by 32, 2 to the number of network.widths"),
    ("draem", ["network.segmenter_widths=null"], "loss.segmentation needs network.segmenter_widths"),
    (None, ["train.rate_epochs=[3]"], "train.rate_epochs goes with train.schedule: steps"),
    (None, ["loss.segmentation=0"], "train.monitor = val_segmentation does not go with loss.segmentation: 0"),
    (None, ["data.add_repeat=3"], "data.add_repeat = 3: nothing to repeat"),
    (None, ["network.segmenter_widths=null"], "loss.segmentation needs network.segmenter_widths")])
def test_what_does_not_go_together_is_named(file, overrides, words):
    with pytest.raises(InputError) as caught:
        load_config(file, overrides)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_shipped_ones_are_the_papers():
    ganomaly, draem = load_config("ganomaly"), load_config("draem")
    assert (ganomaly.method, draem.method) == ("ganomaly", "draem")
    assert (ganomaly.loss.adversarial, ganomaly.loss.contextual, ganomaly.loss.encoder) == (1, 50, 1)
    assert (draem.train.epochs, draem.train.rate_epochs, draem.train.rate_factor) == (700, (400, 600), 0.1)
    assert not (draem.data.flip_horizontal or draem.data.flip_vertical) and draem.noise.opacity == (0.1, 1.0)


def test_one_size_is_what_has_a_dense_layer_or_a_gaussian_a_place():
    sizes = {method: load_config(method if method != "grdnet" else None).one_size for method in METHODS}
    assert sizes == {"grdnet": False, "ganomaly": True, "draem": False, "padim": True, "patchcore": False}
    assert replace(load_config(), network__bottleneck="drae").one_size


def test_the_generator_alone_has_no_segmenter_and_may_have_another_stride():
    config = load_config(None, ["loss.segmentation=0", "train.monitor=val_generator", "network.widths=[4,8]",
                                "network.segmenter_widths=[4,4,4,4]", "network.discriminator_widths=[4]",
                                "data.image_size=[12,20]"])
    network = config.trained_network
    assert network.segmenter_widths is None and network.total_stride == 4
    assert config.network.segmenter_widths == (4, 4, 4, 4)
