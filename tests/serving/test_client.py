"""The client: its messages against TensorFlow's and TensorFlow Serving's own classes, and every way a server fails."""
import functools
import http.server
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from grdnet_tf.serving import client
from grdnet_tf.serving.client import GrpcClient, RestClient, ServingError

SCRIPT = client.__file__

# Written by the generated classes of tensorflow-serving-api 2.15.1.
REQUEST = ("0a190a057669616c73120308ac021a0b73657276655f6279746573121f0a0b696d6167655f62797465731210080712041202080242"
           "0489504e4742001a0573636f7265")
RESPONSE = ("0a310a0b616e6f6d616c795f6d617012220801120c12020802120208021202080122100000003f0000803f000000000000803e0a1c"
            "0a0c69735f616e6f6d616c6f7573120c080a1204120208025a0201000a200a0d6f7665726c61795f6279746573120f080712041202"
            "0802420261624201000a1b0a0573636f7265121208011204120208022a080000803e0000003f0a1d0a0576616c6964121408031204"
            "120208023a0af9ffffffffffffffff01120b0a057669616c7312020802")
STATUS = "0a0708ac02101e1a000a0c080210321a06080312026e6f"
METADATA = ("0a070a057669616c7312c4010a0d7369676e61747572655f64656612b2010a36747970652e676f6f676c65617069732e636f6d2f74"
            "656e736f72666c6f772e73657276696e672e5369676e61747572654465664d617012780a760a0573636f7265126d0a2e0a06696d61"
            "67657312240a03783a3010011a1b120b08ffffffffffffffffff011203088002120308800212020803121f0a0573636f726512160a"
            "03793a3010011a0d120b08ffffffffffffffffff011a1a74656e736f72666c6f772f73657276696e672f70726564696374")


@pytest.mark.parametrize("value", [
    np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4), np.arange(256, dtype=np.uint8).reshape(2, 128),
    np.arange(6.0).reshape(3, 2)[:, ::-1], np.array([-1, 2 ** 31 - 1], np.int32), np.array([-2 ** 62, 5], np.int64),
    np.array([[True], [False]]), np.array([-3, 9], np.int16), np.array([65535], np.uint16), np.array(2.5, np.float32),
    np.array([np.nan, np.inf], np.float32)], ids=lambda v: f"{v.dtype}{v.shape}")
def test_tensors_as_tensorflow_reads_and_writes_them(value):
    sent = tensor_pb2.TensorProto.FromString(client.encode_tensor(value))
    back = tf.make_ndarray(sent)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)
    np.testing.assert_array_equal(client.decode_tensor(tf.make_tensor_proto(value).SerializeToString()), value)


def test_an_empty_batch():
    empty = np.zeros((0, 4, 4, 3), np.float32)
    assert tf.make_ndarray(tensor_pb2.TensorProto.FromString(client.encode_tensor(empty))).shape == (0, 4, 4, 3)
    assert client.decode_tensor(tf.make_tensor_proto(empty).SerializeToString()) == []


def test_tensors_of_strings():
    texts = [b"\x89PNG\r\n\0", b"", bytes(range(256))]
    sent = tensor_pb2.TensorProto.FromString(client.encode_tensor(texts))
    assert tf.make_ndarray(sent).tolist() == texts
    assert client.decode_tensor(tf.make_tensor_proto(texts).SerializeToString()) == texts


@pytest.mark.parametrize("dtype,field,values,expected", [
    (tf.float32, "float_val", [0.5, 0.25, 1.0], [0.5, 0.25, 1.0]),
    (tf.float64, "double_val", [1e-300, 2.0, 3.0], [1e-300, 2.0, 3.0]),
    (tf.int32, "int_val", [-7, 300, 0], [-7, 300, 0]), (tf.int64, "int64_val", [-2 ** 40], [-2 ** 40] * 3),
    (tf.bool, "bool_val", [True], [True] * 3), (tf.float32, "float_val", [], [0.0] * 3)])
def test_tensors_sent_value_by_value(dtype, field, values, expected):
    """As TensorFlow Serving answers; equal values at the end may be left out."""
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.dim.add().size = 3
    getattr(proto, field).extend(values)
    assert client.decode_tensor(proto.SerializeToString()) == expected


def test_messages_are_those_of_the_generated_classes():
    request = client.encode_predict_request("vials", "serve_bytes", {"image_bytes": [b"\x89PNG", b""]}, 300, ("score",))
    assert request.hex() == REQUEST
    assert client.decode_predict_response(bytes.fromhex(RESPONSE)) == {
        "score": [0.25, 0.5], "is_anomalous": [True, False], "valid": [-7, -7], "overlay_bytes": [b"ab", b"\0"],
        "anomaly_map": [[[0.5], [1.0]], [[0.0], [0.25]]]}
    assert client.decode_status(bytes.fromhex(STATUS)) == {300: "AVAILABLE", 2: "END"}
    assert client.decode_metadata(bytes.fromhex(METADATA)) == {"score": {
        "inputs": {"images": ("DT_FLOAT", [-1, 256, 256, 3])}, "outputs": {"score": ("DT_FLOAT", [-1])}}}


def test_messages_read_by_the_generated_classes():
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason="needs tensorflow-serving-api: "
                                      "pip install --no-deps tensorflow-serving-api of TensorFlow's own version")
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    sent = predict_pb2.PredictRequest.FromString(client.encode_predict_request(
        "vials", "serve_roi", {"images": images, "roi": np.ones((2, 8, 8, 1), np.float32)}, outputs=("score",)))
    assert sent.model_spec.name == "vials" and sent.model_spec.signature_name == "serve_roi"
    assert not sent.model_spec.HasField("version") and list(sent.output_filter) == ["score"]
    assert set(sent.inputs) == {"images", "roi"}
    np.testing.assert_array_equal(tf.make_ndarray(sent.inputs["images"]), images)
    answer = predict_pb2.PredictResponse()
    answer.outputs["map"].CopyFrom(tf.make_tensor_proto(images))
    np.testing.assert_array_equal(client.decode_predict_response(answer.SerializeToString())["map"], images)


@pytest.mark.parametrize("value", [np.zeros(2, np.float16), np.array([b"x", None]), [1.0, 2.0], ["text"], 3.0],
                         ids=str)
def test_inputs_that_cannot_be_sent(value):
    with pytest.raises(TypeError):
        client.encode_tensor(value)


@pytest.fixture
def silent():
    """Port of a listener that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed():
    """Port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def other_server(tmp_path):
    """Port of a web server that is no TensorFlow Serving."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def clients(port, **options):
    address = f"127.0.0.1:{port}"
    return RestClient(f"http://{address}/", "vials", **options), GrpcClient(address, "vials", **options)


def test_no_server(closed):
    for each in clients(closed):
        with pytest.raises(ServingError, match=f"127.0.0.1:{closed}.* of model vials: (no connection|UNAVAILABLE)"):
            each.status()
        each.close()


def test_a_server_that_does_not_answer(silent):
    for each in clients(silent, timeout=0.5):
        with pytest.raises(ServingError, match="predict of model vials: no answer within 0.5 s"):
            each.inspect([b"x"])
        each.close()


def test_another_server(other_server):
    rest, grpc = clients(other_server, timeout=5)
    for call in (rest.status, rest.metadata, lambda: rest.predict({"images": np.zeros((1, 2), np.float32)})):
        with pytest.raises(ServingError, match="HTTP (404|501), and not an answer of TensorFlow Serving"):
            call()
    with pytest.raises(ServingError, match="127.0.0.1"):
        grpc.status()


def test_overlays_of_one_stem_are_two_files_and_of_one_name_an_error(closed, tmp_path, capsys):
    assert client.overlay_names(["a/part.png", "a/part.jpg"]) == ["part.png_map.png", "part.jpg_map.png"]
    call = ["--rest", f"http://127.0.0.1:{closed}", "--model", "vials", "--batch", "1", "--overlay",
            str(tmp_path / "maps")]
    assert client.main([*call, "a/part.png", "b/part.png"]) == 2
    assert capsys.readouterr().err == (
        "error: a/part.png and b/part.png: both overlays would be part.png_map.png; ask for one at a time\n")
    assert not (tmp_path / "maps").exists()


def test_command_line_fails_in_one_line(closed, tmp_path):
    """The file alone, copied away from the library: it needs nothing of grdnet_tf or TensorFlow."""
    alone = tmp_path / "client.py"
    alone.write_text(open(SCRIPT, encoding="utf-8").read(), encoding="utf-8")
    picture = tmp_path / "part.png"
    picture.write_bytes(b"x")

    def call(*argv):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run([sys.executable, "-X", "importtime", str(alone), *argv], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, timeout=60)

    for way in (["--rest", f"http://127.0.0.1:{closed}"], ["--grpc", f"127.0.0.1:{closed}"]):
        done = call(*way, "--model", "vials", str(picture))
        said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        assert done.returncode == 2 and len(said) == 1 and said[0].startswith("error: "), done.stderr
        assert "tensorflow" not in done.stderr.replace("tensorflow.serving", "") and "numpy" not in done.stderr
    missing = call("--rest", "http://127.0.0.1:1", "--model", "vials", str(tmp_path / "absent.png"))
    assert missing.returncode == 2 and "absent.png" in missing.stderr
