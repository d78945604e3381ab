"""OpenVINO's runtime itself: what `--layout openvino` hands to its server, and the SavedModel beside it."""
import numpy as np
import pytest
from scored_files import HOW

from grdnet_tf.serving.convert import onnx

openvino = pytest.importorskip("openvino", reason=f"OpenVINO: {HOW}")


def test_the_onnx_file_and_the_saved_model_give_the_sessions_answers(folder, served, pictures, tmp_path):
    """Every output of serving_default to 1e-4, in batches of 4 and 1; a picture with NaN is refused there too."""
    images = pictures[0] / np.float32(255)
    images[3, 5, 5] = np.nan
    onnx.write(folder, str(tmp_path / "model.onnx"))
    for source in (str(tmp_path / "model.onnx"), folder):
        compiled = openvino.Core().compile_model(source, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for asked in (images, images[:1]):
            wanted, found = served.run("serving_default", images=asked), compiled({"images": asked})
            for name, values in wanted.items():
                np.testing.assert_allclose(found[name], values, atol=1e-4, err_msg=f"{source}: {name}")
    assert wanted["is_anomalous"].shape == (1,) and served.run("serving_default", images=images)["score"][3] == 1
