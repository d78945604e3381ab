"""What the configuration says reaches the model and its data: turns, windows, defects, textures, replicas."""
import cv2
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import FREE, arguments, complete, events, summary

import train
from grdnet_tf.config import load_config
from grdnet_tf.training import building, prepare


@pytest.mark.slow
def test_turns_and_blur_of_the_configuration_are_done(discs, tiny_config):
    def first(make, *settings):
        config = load_config(tiny_config, [f"data.root={discs}", "data.channels='3'", "data.flip_horizontal=false",
                                           "data.flip_vertical=false", *settings])
        found, model = prepare.training_data(config), building.build_model(config)
        building.compile_model(model, config, found)
        return {name: part.numpy() for name, part in next(iter(make(model, config, found))).items()}

    def trained(model, config, found):
        return building.training_stream(model, config, found).batches()

    still, none, all_ = (first(trained, *s)["image"] for s in (["data.rotation=0"], ["data.turned=0"], []))
    np.testing.assert_array_equal(none, still)
    assert np.all(np.abs(all_ - still).max((1, 2, 3)) > 0.02)

    sharp, blurred = (first(building.held_out_set, "validation.probability=1", *s)["mask"].sum()
                      for s in (["validation.blurred=0"], []))
    assert blurred > 1.1 * sharp > 0


@pytest.mark.slow
def test_windows_of_the_pictures_are_trained_on_and_whole_ones_judged(discs, tiny_config, tmp_path):
    run = tmp_path / "run"
    assert train.main(arguments(discs, run, tiny_config, *FREE, "--epochs", "2", "--set", "data.crop=[8, 16]")) == 0
    strip = next(s for tag, s in events(run) if tag.startswith("image | noisy"))
    # Six whole pictures of 16 x 16, seven times as large, 6 pixels apart under a name of 20.
    assert [int(side) for side in strip.tensor.string_val[:2]] == [6 * (7 * 16 + 6), 20 + 7 * 16]
    assert np.isfinite(summary(run)["figures"]["val_loss"])


@pytest.mark.slow
def test_textures_from_a_folder_are_shown_as_defects(discs, tiny_config, tmp_path):
    """Pictures of 16 x 24, green textures, every defect replaces: the strips in TensorBoard show green in the mask."""
    for i, side in enumerate((30, 40)):
        (tmp_path / "textures" / str(i)).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "textures" / str(i) / "t.png"), np.full((side, 20, 3), (0, 250, 0), np.uint8))
    run, textures = tmp_path / "run", f"noise.textures={tmp_path / 'textures'}"
    settings = ["data.image_size=[16, 24]", textures, "noise.sources={texture: 1}", "noise.opacity=[1, 1]",
                "validation.sources={texture: 1}", "validation.opacity=[1, 1]", "validation.probability=1",
                "validation.blurred=0", "train.image_every=1"]
    more = [word for setting in settings for word in ("--set", setting)]
    assert train.main(arguments(discs, run, tiny_config, *FREE, "--epochs", "1", *more)) == 0
    strip = next(s for tag, s in events(run) if tag.startswith("image | noisy"))
    shown = [tf.io.decode_png(encoded).numpy() for encoded in strip.tensor.string_val[2:]]
    noisy, mask = (np.stack(shown)[:, 20:, left:left + 5 * 24] for left in (126, 252))  # five times as large
    masked = noisy[mask[..., 0] > 128].astype(int)
    assert len(masked) and np.all(masked[:, 1] - masked[:, [0, 2]].max(axis=1) > 100)


def test_mirrored_replicas_train(discs, tiny_config, tmp_path):
    """In a process of its own: TensorFlow mixes up the collective ops of two such strategies in one."""
    complete(*arguments(discs, tmp_path / "run", tiny_config, "--strategy", "mirrored", "--epochs", "1"))
    assert np.isfinite(summary(tmp_path / "run")["figures"]["loss"])
