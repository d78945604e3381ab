"""One small SavedModel, loaded as TensorFlow Serving loads it."""
import concurrent.futures
import http.server
import shutil
import threading

import cv2
import numpy as np
import pytest
from answers import Answering, grpc
from small_served import SIZE, random_model

from grdnet_tf.serving import batch, folding, publish, selftest, signatures
from grdnet_tf.serving.client import GrpcClient, RestClient


@pytest.fixture(scope="session")
def model():
    return random_model()


@pytest.fixture(scope="session")
def pictures():
    """4 x (H, W, 3) uint8; their ROIs (H, W, 1), each another part."""
    shown, roi = selftest.test_pictures(*SIZE, 3, rows=4)
    return shown, roi


@pytest.fixture(scope="session")
def thresholds(model, pictures):
    """Between the pictures' scores: one is accepted, one looked at again, two rejected, with and without their ROIs."""
    images = pictures[0] / np.float32(255)
    plain, inside = np.sort(model(images).score), np.sort(model(images, roi=pictures[1]).score)
    return {"image": {"value": float(plain[1:3].mean())}, "image_roi": {"value": float(inside[1:3].mean())},
            "look": {"value": float(plain[:2].mean())}, "look_roi": {"value": float(inside[:2].mean())}}


@pytest.fixture(scope="session")
def folder(model, thresholds, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("saved") / "model")
    signatures.write_saved_model(path, folding.inference_half(model), thresholds, batch_sizes=(1, 4), max_pixels=10_000)
    return path


@pytest.fixture(scope="session")
def exported(folder, tmp_path_factory):
    """The same, published: version 1 of a model, with its manifest."""
    home = str(tmp_path_factory.mktemp("exports") / "vials")
    return publish.publish(1, {home: lambda fresh: shutil.copytree(folder, fresh, dirs_exist_ok=True) and {}})[0]


@pytest.fixture(scope="session")
def line(pictures, tmp_path_factory):
    """A folder of 22 pictures, one of another size, a BMP that ends in zeros, a file that is none, an empty one."""
    path = tmp_path_factory.mktemp("line") / "pictures"
    path.mkdir()
    for i in range(22):
        (path / f"{i:02d}.png").write_bytes(selftest.encode(np.roll(pictures[0][i % 4], i, 1)))
    cv2.imwrite(str(path / "large.jpg"), np.full((90, 70, 3), 130, np.uint8))
    cv2.imwrite(str(path / "black.bmp"), np.zeros((*SIZE, 3), np.uint8))
    (path / "broken.png").write_bytes(b"no picture")
    (path / "empty.png").write_bytes(b"")
    return path


@pytest.fixture(scope="session")
def judged(exported, line):
    """{name of a file in `line`: its row}, as one process says."""
    paths = sorted(line.iterdir())
    found = batch.inspect_files(exported)([path.read_bytes() for path in paths])
    rows = {path.name: {key: values[i].tolist() for key, values in found.items()} for i, path in enumerate(paths)}
    assert [name for name in rows if not rows[name]["valid"]] == ["broken.png", "empty.png"]
    assert len(rows) == 26 > batch.BATCH
    return rows


@pytest.fixture(scope="session")
def served(folder):
    with selftest.Session(folder) as session:
        yield session


@pytest.fixture(scope="module")
def answering():
    return Answering()


@pytest.fixture(scope="module")
def rest(answering):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", 1 << 16, True  # an answer in one piece: fast

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(answering.status)
            for name, value in {"Content-Length": str(len(answering.body)), **answering.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answering.body)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = RestClient(f"http://127.0.0.1:{server.server_address[1]}", "vials", timeout=5)
    yield found
    found.close()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def rpc(answering):
    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answering.body)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    found = GrpcClient(f"127.0.0.1:{port}", "vials", timeout=5)
    yield found
    found.close()
    server.stop(None)


@pytest.fixture(autouse=True)
def sound(answering):
    answering.status, answering.headers, answering.body = 200, {}, b""
