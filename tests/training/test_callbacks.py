"""What a run logs, which weights it keeps, and that NaN ends it with the culprits named."""
import numpy as np
from tiny_training import FREE, arguments, events, rows

import train
from grdnet_tf.storage import read_arrays
from grdnet_tf.training.building import load_run


def test_tensorboard_holds_scalars_and_picture_strips(finished):
    assert {"segmentation", "val_segmentation", "learning_rate_segmenter"} <= {tag for tag, _ in events(finished)}
    strip = next(value for tag, value in events(finished) if tag.startswith("image | noisy"))
    width, height = (int(side) for side in strip.tensor.string_val[:2])
    assert (width, height) == (6 * (7 * 16 + 6), 20 + 7 * 16)


def test_the_best_weights_are_those_of_the_best_epoch_and_load(finished):
    validation = [float(row["val_segmentation"]) for row in rows(finished)]
    _, state = read_arrays(str(finished / "best" / "weights.npz"))
    assert state["value"] == min(validation) and state["epoch"] == 1 + int(np.argmin(validation))
    run = load_run(str(finished))
    assert run.model(np.zeros((1, 16, 16, 3), np.float32)).score.shape == (1,)


def test_nan_stops_the_run_with_step_term_and_files(discs, tiny_config, tmp_path, capsys):
    run = tmp_path / "nan"
    code = train.main(arguments(discs, run, tiny_config, *FREE, "--set", "train.learning_rate=1e30"))
    message = capsys.readouterr().err
    assert code == 1 and "not finite" in message and ".png" in message and "step " in message
    assert not (run / "summary.json").exists()
    for checkpoint in (run / "checkpoints").iterdir():
        arrays, _ = read_arrays(str(checkpoint))
        assert all(np.all(np.isfinite(a)) for name, a in arrays.items() if name.startswith("generator"))
