"""What an export says of itself is not believed blindly."""
import json

import cv2
import numpy as np
import pytest

import predict
from grdnet_tf.errors import InputError
from grdnet_tf.inspection import engines


@pytest.mark.parametrize("value", [1e9, -0.5, float("nan"), "0.5", True, None], ids=repr)
def test_a_threshold_that_is_none_is_not_believed(value, tmp_path, capsys):
    """Nothing would be rejected any more, or all."""
    told = {"thresholds": {"image": {"value": 0.5}, "pixel": {"value": value}}, "white": 0, "image_size": [16, 16],
            "channels": 3, "model": "vials"}
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    (tmp_path / "1" / "manifest.json").write_text(json.dumps(told))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((16, 16, 3), np.uint8))
    assert predict.main(["--model", str(tmp_path), str(tmp_path / "a.png")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {tmp_path / '1' / 'manifest.json'}: damaged"


def test_an_onnx_file_whose_score_is_not_the_maps_maximum_takes_no_region_that_moves(tmp_path):
    """Of PatchCore and GANomaly: cut outside of the file, the map would say nothing of the score."""
    told = {"thresholds": {"image": {"value": 0.5}, "pixel": {"value": 0.5}}, "white": 0, "image_size": [8, 8],
            "channels": 3, "model": "part", "score_pool": None, "station": {"roi": "roi.png", "follow": "follow.png"}}
    for name in ("roi.png", "follow.png"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8), 255, np.uint8))
    with pytest.raises(InputError, match="an ONNX file takes no region; use the SavedModel"):
        engines._engine(engines._Onnx(None, told), told, str(tmp_path), 1)
    told["score_pool"] = 1
    assert engines._engine(engines._Onnx(None, told), told, str(tmp_path), 1).follow == str(tmp_path / "follow.png")
