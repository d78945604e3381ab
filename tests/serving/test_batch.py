"""Lists of picture files through an export: any length, whatever is in them, and always the version that was meant."""
import os
import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf
from small_served import SIZE, files

from grdnet_tf.errors import ExportStopped, InputError
from grdnet_tf.serving import publish
from grdnet_tf.serving.batch import ROW, inspect_files, pinned


@pytest.fixture(scope="module")
def contents(pictures):
    """Seven files: four pictures, what is none, nothing at all, and one that ends in zeros."""
    black = cv2.imencode(".bmp", np.zeros((*SIZE, 3), np.uint8))[1].tobytes()
    assert black.endswith(b"\0" * 100)  # an array of strings would drop them
    return [*files(pictures[0]), b"no picture", b"", black]


@pytest.fixture(scope="module")
def inspect(exported):
    return inspect_files(exported, batch=4)


def test_lists_of_any_length_get_the_answers_of_a_server(inspect, served, contents):
    wanted = served.run("serve_bytes", image_bytes=np.array(contents, object))
    assert wanted["valid"].tolist() == [1, 1, 1, 1, 0, 0, 1] and set(wanted["is_anomalous"]) == {0, 1}
    for length in (0, 1, 3, 4, 7):  # nothing, part of a batch, one, one and a part
        found = inspect(contents[:length])
        assert set(found) == {"score", "is_anomalous", "verdict", "valid"}
        for name, values in found.items():
            assert values.dtype == wanted[name].dtype and values.shape == (length,)
            np.testing.assert_allclose(values, wanted[name][:length], atol=1e-6)


def test_an_export_from_before_verdicts_gives_rows_of_the_same_columns(tmp_path, caplog):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def serve_bytes(image_bytes):
        score = tf.cast(tf.strings.length(image_bytes), tf.float32) / 10
        return {"score": score, "is_anomalous": tf.where(score > 0.5, 1, 0), "valid": tf.ones_like(score, tf.int32)}

    module, folder = tf.Module(), str(tmp_path / "3")
    module.serve_bytes = serve_bytes
    tf.saved_model.save(module, folder, {"serve_bytes": serve_bytes})
    open(os.path.join(folder, publish.MANIFEST), "w").write("{}")
    for outputs in (None, list(ROW)):
        found = inspect_files(folder, batch=2, outputs=outputs)([b"a", b"longer", b"b"])
        assert set(found) == set(ROW) and {name: values.dtype for name, values in found.items()} == ROW
        assert found["verdict"].tolist() == [0, 2, 0] == (2 * found["is_anomalous"]).tolist()
    assert caplog.text == ""
    open(os.path.join(folder, publish.MANIFEST), "w").write('{"station": {"align": "align.json"}}')
    inspect_files(folder)
    assert "takes parts that lie upright" in caplog.text  # it does not turn them


def test_a_row_does_not_depend_on_its_neighbours(inspect, contents):
    """Neither on what fills a batch up nor on where it stands: a job that is split another way gives the same bits."""
    whole = inspect(contents)
    for i, one in enumerate(contents):
        assert {name: values[0] for name, values in inspect([one]).items()} == {name: whole[name][i] for name in whole}


def test_every_kind_of_bytes_and_no_text(inspect, contents):
    found = inspect([bytearray(contents[0]), memoryview(contents[0]), contents[0]])
    assert len(set(found["score"])) == 1 and found["valid"].tolist() == [1, 1, 1]
    for wrong in ("part.png", None, 5):
        with pytest.raises(TypeError, match="expected the bytes of a picture file"):
            inspect([contents[0], wrong])


@pytest.mark.slow
def test_other_signatures_and_outputs(exported, served, contents):
    asked = np.array(contents[:3], object)
    regions = inspect_files(exported, "serve_regions", batch=2)(contents[:3])
    np.testing.assert_allclose(regions["regions"], served.run("serve_regions", image_bytes=asked)["regions"], atol=1e-5)
    overlays = inspect_files(exported, "serve_bytes_map", batch=2)(contents[:3])["overlay_bytes"]
    assert [file[:4] for file in overlays] == [b"\x89PNG"] * 3
    maps = inspect_files(exported, batch=2, outputs=["anomaly_map"])(contents[:3])
    wanted = served.run("serve_bytes", image_bytes=asked)["anomaly_map"]
    assert list(maps) == ["anomaly_map"]
    np.testing.assert_allclose(maps["anomaly_map"], wanted, atol=1e-6)


@pytest.mark.parametrize("given, words", [
    ({"signature": "serve_files"}, "serve_files.*expected one that takes picture files alone: serve_bytes,"),
    ({"signature": "serve_bytes_roi"}, "takes picture files alone"),
    ({"outputs": ["map"]}, "'map': expected some of anomaly_map, is_anomalous, score, valid, verdict"),
    ({"batch": 0}, "batch 0: expected 1 or more")])
def test_what_an_export_does_not_offer_is_refused(exported, given, words):
    with pytest.raises(InputError, match=words):
        inspect_files(exported, **given)


def test_what_is_no_export_is_refused(exported, folder, tmp_path):
    for path, words in ((tmp_path, "no export"), (tmp_path / "absent", "no export"), (folder, "manifest.json"),
                        ("ram://nothing/1", "manifest.json"), ("elsewhere://models/1", "not implemented")):
        with pytest.raises(InputError, match=words):
            pinned(path)
    shutil.copytree(exported, tmp_path / "1")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(InputError, match="no SavedModel that can be loaded"):
        inspect_files(tmp_path / "1")


def test_a_job_keeps_the_version_that_it_began_with(exported, contents, tmp_path):
    home = tmp_path / "vials"
    shutil.copytree(exported, home / "1")
    meant = pinned(home)
    shutil.copytree(exported, home / "2")
    assert pinned(home).folder == str(home / "2") and pinned(meant) == meant

    loaded = inspect_files(meant)  # of version 1, still there
    shutil.rmtree(home / "1")
    assert loaded(contents[:1])["valid"] == 1  # nothing is read after it was loaded
    with pytest.raises(InputError, match="1: no SavedModel that can be loaded"):
        inspect_files(meant)
    publish.publish(1, {str(home): lambda fresh: shutil.copytree(exported, fresh, dirs_exist_ok=True) and {"other": 1}})
    with pytest.raises(ExportStopped, match="another export than when the job began"):
        inspect_files(meant)


def test_an_export_on_a_file_system_of_tensorflow(exported, contents):
    """`ram://` stands in for gs:// and s3://."""
    address = "ram://models/vials/1"
    for parent, _, names in os.walk(exported):
        for name in names:
            copy = os.path.join(address, os.path.relpath(os.path.join(parent, name), exported))
            tf.io.gfile.makedirs(os.path.dirname(copy))
            tf.io.gfile.copy(os.path.join(parent, name), copy)
    meant = pinned(address + "/")
    assert meant == (address, pinned(exported).manifest)
    assert inspect_files(meant)(contents)["valid"].tolist() == [1, 1, 1, 1, 0, 0, 1]
