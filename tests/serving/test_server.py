"""A real TensorFlow Serving with the settings that an export writes, asked by the client over REST and gRPC."""
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.serving import client, warmup
from grdnet_tf.serving.client import GrpcClient, RestClient, ServingError
from grdnet_tf.serving.folding import inference_half
from grdnet_tf.serving.server_files import Description, write_server_files
from grdnet_tf.serving.signatures import write_saved_model

BINARY = os.environ.get("GRDNET_TF_SERVING") or shutil.which("tensorflow_model_server")
pytestmark = pytest.mark.skipif(BINARY is None, reason="no TensorFlow Serving here: put tensorflow_model_server on the "
                                "PATH, or name the file in GRDNET_TF_SERVING")
TINY = dict(widths=(4, 8), latent=4, stem=0, blocks=1, discriminator_widths=(4, 8), segmenter_widths=(4, 8),
            segmenter_stride=1, score_pool=5)
THRESHOLDS = {"image": {"value": 0.5}}
NAME, STATIC = "vials", (1, 2)


def model_of(seed):
    tf.keras.utils.set_random_seed(seed)
    return inference_half(GRDNet((32, 32), 3, **TINY))


def publish(out, version, model):
    """OUT/vials/<version>, whole from the first moment that the server can see it."""
    making, images = out / f"making_{version}", np.full((1, 32, 32, 3), 0.5, np.float32)
    write_saved_model(str(making), model, THRESHOLDS, STATIC)
    warmup.write_warmup(str(making / warmup.FILE), NAME, version, [
        ("serving_default", {"images": images}), ("serve_bytes", {"image_bytes": [png(images[0])]}),
        ("static_b2", {"images": images.repeat(2, 0)})])
    (out / NAME).mkdir(exist_ok=True)
    os.rename(making, out / NAME / str(version))


def png(image):
    return cv2.imencode(".png", np.round(image[..., ::-1] * 255).astype(np.uint8))[1].tobytes()


def pictures(count=3, size=32):
    """Values k / 255, so that a PNG holds them exactly."""
    return (np.random.default_rng(0).integers(0, 256, (count, size, size, 3)) / np.float32(255)).astype(np.float32)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(folder of the export, REST client, gRPC client) of a server that runs until the module is done."""
    out = tmp_path_factory.mktemp("served")
    publish(out, 1, model_of(1))
    folder = write_server_files(str(out), NAME, Description(1, (32, 32), 3, Limits(0.5, 0.5), STATIC, tf.__version__))
    with open(os.path.join(folder, "models.config"), encoding="utf-8") as stream:
        local = stream.read().replace('"/models/', f'"{out}/')  # as the README's command for a server without Docker
    (out / "models.local.config").write_text(local)
    grpc_port, rest_port = free_port(), free_port()
    with open(out / "server.log", "wb") as log:
        process = subprocess.Popen([
            BINARY, f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--file_system_poll_wait_seconds=1",
            f"--model_config_file={out / 'models.local.config'}", "--enable_batching=true",
            f"--batching_parameters_file={folder}/batching.config",
            f"--monitoring_config_file={folder}/monitoring.config"], stdout=log, stderr=subprocess.STDOUT)
    try:
        grpc = GrpcClient(f"127.0.0.1:{grpc_port}", NAME)
        wait_for(lambda: grpc.status().get(1) == "AVAILABLE", process, out / "server.log")
        yield out, RestClient(f"http://127.0.0.1:{rest_port}", NAME), grpc
    finally:
        process.terminate()
        process.wait(30)


def wait_for(reached, process=None, log=None, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if reached():
                return
        except ServingError:
            pass
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError("the server did not get there: " + (log.read_text(errors="replace")[-3000:] if log else ""))


def test_status_and_metadata(server):
    out, rest, grpc = server
    assert rest.status() == grpc.status() == {1: "AVAILABLE"}
    written = saved_model_pb2.SavedModel.FromString((out / NAME / "1" / "saved_model.pb").read_bytes())
    names = {name for name in written.meta_graphs[0].signature_def if not name.startswith("__")}
    for found in (rest.metadata(), grpc.metadata()):
        assert {name for name in found if not name.startswith("__")} == names
        assert found["serving_default"]["inputs"] == {"images": ("DT_FLOAT", [-1, 32, 32, 3])}
        assert found["serve_bytes"]["inputs"] == {"image_bytes": ("DT_STRING", [-1])}
        assert found["static_b2"]["inputs"]["images"] == ("DT_FLOAT", [2, 32, 32, 3])


@pytest.mark.parametrize("way", [1, 2], ids=["rest", "grpc"])
def test_every_signature_gives_the_models_own_scores(server, way):
    ask, images, model = server[way].predict, pictures(), model_of(1)
    detection = model(images)
    files = [png(image) for image in images]
    for signature, inputs in (("serving_default", {"images": images}), ("score", {"images": images}),
                              ("serve_uint8", {"images": np.round(images * 255).astype(np.uint8)}),
                              ("serve_bytes", {"image_bytes": files}), ("serve_bytes_map", {"image_bytes": files})):
        found = ask(inputs, signature)
        np.testing.assert_allclose(found["score"], detection.score, atol=1e-5, err_msg=signature)
        assert [bool(flag) for flag in found["is_anomalous"]] == [score > 0.5 for score in found["score"]]
        if "anomaly_map" in found:
            np.testing.assert_allclose(found["anomaly_map"], detection.anomaly_map, atol=1e-5, err_msg=signature)
    np.testing.assert_allclose(ask({"images": images[:2]}, "static_b2")["score"], detection.score[:2], atol=1e-5)
    roi = np.zeros((3, 32, 32, 1), np.float32)
    roi[:, :16] = 1
    inside = model(images, roi=roi).score
    np.testing.assert_allclose(ask({"images": images, "roi": roi}, "serve_roi")["score"], inside, atol=1e-5)
    regions = [cv2.imencode(".png", one[..., 0] * 255)[1].tobytes() for one in roi]
    np.testing.assert_allclose(server[way].inspect(files, regions)["score"], inside, atol=1e-5)
    overlay = cv2.imdecode(np.frombuffer(server[way].inspect(files, overlay=True)["overlay_bytes"][0], np.uint8), 1)
    assert overlay.shape == (32, 32, 3)


@pytest.mark.parametrize("way", [1, 2], ids=["rest", "grpc"])
def test_a_corrupt_picture_among_others_of_mixed_size(server, way):
    files = [png(pictures(1, size)[0]) for size in (32, 48, 20)]
    alone = server[way].inspect(files)
    found = server[way].inspect([files[0], b"\x89PNG\r\n\x1a\nnot a picture", *files[1:]])
    assert found["valid"] == [1, 0, 1, 1] and alone["valid"] == [1, 1, 1]
    assert found["is_anomalous"][1] == 1 and np.isfinite(found["score"]).all()
    np.testing.assert_allclose(np.delete(found["score"], 1), alone["score"], atol=1e-6)


@pytest.mark.parametrize("way", [1, 2], ids=["rest", "grpc"])
def test_a_refusal_is_one_line_and_the_server_goes_on(server, way):
    asked = server[way]
    for inputs, signature in (({"images": np.zeros((1, 8, 8, 3), np.float32)}, "serving_default"),
                              ({"images": np.zeros((1, 32, 32, 3), np.float32)}, "no_such_signature"),
                              ({"pictures": np.zeros((1, 32, 32, 3), np.float32)}, "serving_default")):
        with pytest.raises(ServingError, match=f"predict of model {NAME}") as refused:
            asked.predict(inputs, signature)
        assert "\n" not in str(refused.value)
    with pytest.raises(ServingError):
        type(asked)(asked.address, "no_such_model").status()
    with pytest.raises(ServingError):
        type(asked)(asked.address, NAME, version=99).predict({"images": pictures(1)})
    assert len(asked.predict({"images": pictures(1)})["score"]) == 1


def test_command_line(server, tmp_path):
    _, rest, grpc = server
    cv2.imwrite(str(tmp_path / "part.png"), np.round(pictures(1)[0] * 255))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    for way in (["--rest", rest.address], ["--grpc", grpc.address]):
        done = subprocess.run([sys.executable, client.__file__, *way, "--model", NAME, "--overlay",
                               str(tmp_path / "maps"), str(tmp_path / "part.png"), str(tmp_path / "broken.jpg")],
                              capture_output=True, text=True, timeout=60)
        lines = done.stdout.splitlines()
        assert done.returncode == 1 and len(lines) == 2, done.stderr
        assert lines[0].split()[1] in ("DEFECT", "good") and lines[1].split()[1] == "INVALID"
    assert sorted(os.listdir(tmp_path / "maps")) == ["broken.jpg_map.png", "part.png_map.png"]


def test_hot_swap_under_load(server):
    """The last test: from here on version 2 is served. No request may fail while the server changes over."""
    out, rest, grpc = server
    images, failures, scores, stop = pictures(1), [], {rest: [], grpc: []}, threading.Event()

    def load(asked):
        while not stop.is_set():
            try:
                scores[asked].append(asked.predict({"images": images}, "score")["score"][0])
            except ServingError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=load, args=(asked,)) for asked in (rest, grpc)]
    try:
        for thread in threads:
            thread.start()
        publish(out, 2, model_of(2))
        wait_for(lambda: grpc.status() == {2: "AVAILABLE", 1: "END"})
        time.sleep(0.5)  # some requests of the new version
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    before, after = float(model_of(1)(images).score[0]), float(model_of(2)(images).score[0])
    assert abs(before - after) > 1e-4  # otherwise the change could not be seen
    for seen in scores.values():
        assert abs(seen[0] - before) < 1e-5 and abs(seen[-1] - after) < 1e-5
        assert all(min(abs(score - before), abs(score - after)) < 1e-5 for score in seen)
