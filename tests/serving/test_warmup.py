"""Warmup records: TensorFlow reads the file, TensorFlow Serving's classes read the records."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.errors import InputError
from grdnet_tf.serving import warmup

# A PredictionLog written by the generated classes of tensorflow-serving-api 2.15.1.
RECORD = ("32450a430a190a057669616c73120308ac021a0b73657276655f6279746573121f0a0b696d6167655f62797465731210080712041202"
          "0802420489504e4742001a0573636f7265")


def requests():
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    return [("serving_default", {"images": images}), ("serve_uint8", {"images": (images * 255).astype(np.uint8)}),
            ("serve_bytes", {"image_bytes": np.array([b"\x89PNG", b"x\0"], object)}),
            ("serve_bytes_roi", {"image_bytes": [b"a"], "roi_bytes": [b"b"]})]


def test_a_record_is_that_of_the_generated_classes():
    # the golden record also asks for one output, field 3 of the inner request: 7 bytes that lengthen 2 messages
    found = warmup.encode_record("vials", 300, "serve_bytes", {"image_bytes": np.array([b"\x89PNG", b""], object)})
    golden = bytes.fromhex(RECORD)
    assert golden[:4] == bytes([0x32, 69, 0x0A, 67]) and golden[-7:] == b"\x1a\x05score"
    assert found == bytes([0x32, 69 - 7, 0x0A, 67 - 7]) + golden[4:-7]


def test_the_file_is_a_tfrecord_in_the_order_given(tmp_path):
    path = tmp_path / "7" / warmup.FILE
    warmup.write_warmup(str(path), "vials", 7, requests())
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    assert records == [warmup.encode_record("vials", 7, name, inputs) for name, inputs in requests()]


def test_records_read_by_the_generated_classes(tmp_path):
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api: "
                               "pip install --no-deps tensorflow-serving-api of TensorFlow's own version")
    path = str(tmp_path / warmup.FILE)
    warmup.write_warmup(path, "vials", 7, requests())
    found = [logs.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(path)]
    assert len(found) == len(requests())
    for log, (name, inputs) in zip(found, requests()):
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "vials" and request.model_spec.version.value == 7
        assert request.model_spec.signature_name == name and set(request.inputs) == set(inputs)
        for key, value in inputs.items():
            array = tf.make_ndarray(request.inputs[key])
            np.testing.assert_array_equal(array, value)
            assert array.dtype == np.asarray(value, None if hasattr(value, "dtype") else object).dtype
        # byte for byte what protobuf itself writes, but for the free order of a map's entries
        assert len(log.SerializeToString()) == len(warmup.encode_record("vials", 7, name, inputs))


@pytest.mark.parametrize("count", [0, warmup.MOST + 1])
def test_a_server_would_refuse_so_many(tmp_path, count):
    with pytest.raises(InputError, match=f"{count} warmup requests; TensorFlow Serving takes 1 to 1000"):
        warmup.write_warmup(str(tmp_path / "w"), "vials", 1, [("score", {"images": np.zeros((1, 2))})] * count)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*file.*warmup"):
        warmup.write_warmup(str(tmp_path / "file" / "warmup"), "vials", 1, requests())
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write .*folder"):
        warmup.write_warmup(str(tmp_path / "folder"), "vials", 1, requests())
