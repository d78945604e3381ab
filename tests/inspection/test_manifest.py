"""What an export says of itself is not believed blindly."""
import json

import cv2
import numpy as np
import pytest

import predict


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
