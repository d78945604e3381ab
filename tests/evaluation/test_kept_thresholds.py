"""calibration.json is not believed: a threshold that can never fire, wrong types, another form: named, never used."""
import json

import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.evaluation import calibration

ENTRY = {"value": 0.5, "method": "max_normal", "n": 12, "above": 0, "false_reject_interval": [0.0, 0.2],
         "fitted_on": "12 good images that the run held out"}


@pytest.fixture
def run(tmp_path):
    """Function: changes of the image's entry -> the folder of a run that keeps it so, beside a sound one."""
    calibration.keep(str(tmp_path), {"image": ENTRY, "pixel": ENTRY}, "w", "p")
    content = json.loads((tmp_path / "calibration.json").read_text())

    def kept(**changes):
        content["thresholds"]["image"] = {**ENTRY, **changes}
        (tmp_path / "calibration.json").write_text(json.dumps(content))
        return str(tmp_path)
    return kept


def test_what_was_kept_comes_back_for_its_weights_and_settings_alone(run):
    assert calibration.load(run(), "w")["image"] == {**ENTRY, "false_reject_interval": (0.0, 0.2)}
    assert calibration.load(run(value=0), "w")["image"]["value"] == 0.0
    assert calibration.load(run(), "other weights") == calibration.load(run(), "w", {"min_area": 3}) == {}


@pytest.mark.parametrize("changes", [
    {"value": 1e9}, {"value": -0.1}, {"value": float("nan")}, {"value": float("inf")}, {"value": "high"},
    {"value": True}, {"value": None}, {"value": [0.5]}, {"n": 0}, {"n": 1.5}, {"n": 1e400}, {"above": -1}, {"method": 3},
    {"fitted_on": None}, {"false_reject_interval": [0.0, 2.0]}, {"false_reject_interval": [0.1]}, {"more": 1}], ids=str)
def test_a_threshold_that_is_none_is_refused_by_file(run, changes):
    folder = run(**changes)
    with pytest.raises(InputError, match="calibration.json: .*delete it, and the thresholds are") as refused:
        calibration.load(folder, "w")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [
    "", "null", "[]", "[" * 100_000, "{}", '{"weights_sha256": "w"}', '{"weights_sha256": "w", "thresholds": []}',
    '{"weights_sha256": "w", "thresholds": {}}', '{"weights_sha256": "w", "thresholds": {"image": 0.5, "pixel": 0.5}}',
    '{"weights_sha256": "w", "thresholds": {"image": {"value": 0.5}, "pixel": {"value": 0.5}}}',
    '{"weights_sha256": "w", "thresholds": {}, "history": 3}', "\xff\xfe"], ids=lambda text: text[:60])
def test_a_file_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "calibration.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="calibration.json: .*delete it, and the thresholds are fitted again"):
        calibration.load(str(tmp_path), "w")
