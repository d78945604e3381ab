"""The client among broken servers: every answer ends in a sane result or in one ServingError, never in "good"."""
import base64
import concurrent.futures
import http.server
import json
import math
import os
import random
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from grdnet_tf.serving import client
from grdnet_tf.serving.client import GrpcClient, RestClient, ServingError, message

grpc = pytest.importorskip("grpc")

PNG = b"\x89PNG\r\n\x1a\n..."
FILES = [b"one", b"two"]
SOUND = {"score": [0.25, 0.75], "is_anomalous": [0, 1], "valid": [1, 1]}
MEMORY = 200 << 20  # bytes that no answer may make the client hold


class Answering:
    """What the two servers answer next: `status`, `headers` and `body` over HTTP, `body` alone over gRPC."""
    status, headers, body = 200, {}, b""


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


def said(call):
    """The one line of the ServingError that `call()` ends with."""
    with pytest.raises(ServingError) as error:
        call()
    assert "\n" not in str(error.value) and str(error.value).isprintable() and len(str(error.value)) < 700
    return str(error.value)


def outputs(**changed):
    return json.dumps({"outputs": dict(SOUND, **changed)}).encode()


def response(tensors):
    """A PredictResponse; `tensors` are arrays, or the bytes of a TensorProto."""
    return b"".join(message(1, message(1, name.encode()) + message(
        2, tensor if isinstance(tensor, bytes) else client.encode_tensor(tensor))) for name, tensor in tensors.items())


def sound_tensors(**changed):
    return dict({"score": np.array(SOUND["score"], np.float32), "is_anomalous": np.array([0, 1], np.int32),
                 "valid": np.array([1, 1], np.int32)}, **changed)


def is_sane(found):
    assert set(found) == {"score", "is_anomalous", "valid"} and all(len(values) == 2 for values in found.values())
    for score, bad, valid in zip(found["score"], found["is_anomalous"], found["valid"]):
        assert isinstance(score, (int, float)) and math.isfinite(score) and -0.01 < score < 1.01
        assert bad in (0, 1) and valid in (0, 1) and (valid or bad)


# What no export answers -----------------------------------------------------------------------------------------------

NO_ANSWER = {
    "null score": {"score": None}, "score nan": {"score": [math.nan, 0.5]},
    "score infinite": {"score": [math.inf, 0.5]},
    "null in score": {"score": [None, 0.5]}, "score text": {"score": ["0.1", "0.2"]},
    "score true": {"score": [True, 0.5]},
    "score nested": {"score": [[0.1], [0.2]]}, "score large": {"score": [1e30, 0.5]},
    "score below": {"score": [-1, 0.5]},
    "a lone score": {"score": 0.5}, "one score": {"score": [0.5]}, "three scores": {"score": [0.5] * 3},
    "no scores": {"score": []}, "score object": {"score": {"a": 1}}, "score b64": {"score": [{"b64": "AAAA"}] * 2},
    "null decisions": {"is_anomalous": None}, "null decision": {"is_anomalous": [None, 0]},
    "decision 2": {"is_anomalous": [2, 0]}, "decision nan": {"is_anomalous": [math.nan, 0]},
    "decision half": {"is_anomalous": [0.5, 0]}, "decision float": {"is_anomalous": [0.0, 0.0]},
    "decision text": {"is_anomalous": ["0", "0"]}, "decision missing": {"is_anomalous": [0]},
    "valid null": {"valid": [None, 1]}, "valid 7": {"valid": [7, 1]}, "valid -1": {"valid": [-1, 1]},
    "ragged": {"score": [[0.1], 0.2]}, "neither valid nor anomalous": {"valid": [0, 1]},
    "bad base64": {"overlay_bytes": [{"b64": "###"}] * 2}, "base64 number": {"overlay_bytes": [{"b64": 7}] * 2},
    "no base64": {"overlay_bytes": [{}] * 2}, "surrogate": {"overlay_bytes": ["\ud800"] * 2},
}


@pytest.mark.parametrize("changed", list(NO_ANSWER.values()), ids=list(NO_ANSWER))
def test_outputs_that_no_export_gives(rest, answering, changed):
    answering.body = outputs()
    is_sane(rest.inspect(FILES))
    answering.body = outputs(**changed)
    assert "predict of model vials" in said(lambda: rest.inspect(FILES))


BODIES = {
    "nothing": b"", "null": b"null", "number": b"7", "list": b"[]", "text": b'"outputs"',
    "html": b"<html>sorry</html>",
    "null outputs": b'{"outputs": null}', "outputs list": b'{"outputs": [0.5, 0.5]}',
    "outputs number": b'{"outputs": 1}',
    "other key": b'{"predictions": []}', "cut": outputs()[:40], "deep": b'{"outputs": ' + b"[" * 100_000,
    "deep and closed": b'{"outputs": {"score": ' + b"[" * 900 + b"]" * 900 + b"}}", "binary": bytes(range(256)) * 4,
    "not UTF-8": b'{"outputs": {"sc\xffore": []}}', "a long number": b'{"outputs": {"score": [' + b"9" * 5000 + b"]}}",
    "huge exponent": outputs().replace(b"0.25", b"1e999"), "missing": b'{"outputs": {"score": [0.5, 0.5]}}',
    "error null": b'{"error": null}', "error list": b'{"error": [1, {"a": "\\n\\u001b[31m"}]}',
    "error long": json.dumps({"error": "x" * 10**6}).encode(), "error surrogate": b'{"error": "\\ud800"}',
}


@pytest.mark.parametrize("body", list(BODIES.values()), ids=list(BODIES))
@pytest.mark.parametrize("status", [200, 500])
def test_bodies_that_are_no_answer(rest, answering, body, status):
    answering.body, answering.status = body, status
    for call in (lambda: rest.inspect(FILES), rest.status, rest.metadata):
        said(call)


def test_http_that_is_no_answer(rest, answering):
    answering.body, answering.status, answering.headers = outputs(), 302, {"Location": "http://elsewhere/\x7flogin"}
    assert "HTTP 302 (moved to http://elsewhere/?login)" in said(lambda: rest.inspect(FILES))
    answering.headers = {"Content-Encoding": "gzip"}
    answering.status = 200
    assert "no connection (ContentDecodingError)" in said(lambda: rest.inspect(FILES))
    answering.headers = {"Content-Length": str(len(answering.body) + 10)}
    said(lambda: RestClient(rest.address, "vials", timeout=1).inspect(FILES))
    answering.headers, answering.status = {}, 204
    said(lambda: rest.inspect(FILES))


@pytest.mark.parametrize("content", [
    None, [], {}, [None], [{}], [{"version": "1"}], [{"version": [], "state": "END"}],
    [{"version": "x", "state": "END"}], [{"version": 1e999, "state": "END"}], [{"version": "1", "state": 7}],
    {"version": "1"}, "END", 3], ids=repr)
def test_status_of_another_form(rest, answering, content):
    answering.body = json.dumps({"model_version_status": content}).encode()
    if content in ([], {}):
        assert rest.status() == {}
    else:
        said(rest.status)


@pytest.mark.parametrize("content", [
    None, {}, {"signature_def": []}, {"signature_def": {"signature_def": None}},
    {"signature_def": {"signature_def": {"score": None}}},
    {"signature_def": {"signature_def": {"score": {"inputs": 3}}}},
    {"signature_def": {"signature_def": {"score": {"inputs": {"images": {"dtype": "DT_FLOAT"}}}}}},
    {"signature_def": {"signature_def": {"score": {"inputs": {"images": {
        "dtype": 1, "tensor_shape": {"dim": [{"size": "x"}]}}}}}}}], ids=repr)
def test_metadata_of_another_form(rest, answering, content):
    answering.body = json.dumps({"metadata": content}).encode()
    said(rest.metadata)


# gRPC -----------------------------------------------------------------------------------------------------------------

HUGE = b"\x80\xbc\xc1\x96\x0b"  # 3,000,000,000 as a varint
SHAPE = message(2, message(2, b"\x08" + HUGE))
OF_2 = message(2, message(2, b"\x08\x02"))
FLOATS_2 = b"\x08\x01" + OF_2
TENSORS = {
    "float_val is a number": b"\x08\x01" + b"\x28" + HUGE, "string_val is a number": b"\x08\x07\x40" + HUGE,
    "content is a number": b"\x08\x01\x20" + HUGE, "3e9 zeros": b"\x08\x01" + SHAPE, "3e9 flags": b"\x08\x0a" + SHAPE,
    "3e9 texts": b"\x08\x07" + SHAPE, "3e9 equal ones": b"\x08\x01" + SHAPE + message(5, bytes(4)),
    "3e9 empty lists": b"\x08\x01" + message(2, message(2, b"\x08" + HUGE) + message(2, b"")),
    "a million lists of one, often":
        b"\x08\x01" + message(2, message(2, b"\x08\x80\x80\x40") + 7 * message(2, b"\x08\x01")),
    "many dimensions": b"\x08\x01" + message(2, 300 * message(2, b"\x08\x01")),
    "a length beyond the end": b"\x08\x01\x22" + HUGE, "a group": b"\x08\x01\x2b", "type is bytes": b"\x0a\x01\x01",
    "shape is a number": b"\x08\x01\x10\x05", "a size is bytes": b"\x08\x01" + message(2, message(2, b"\x0a\x01\x01")),
    "a negative size": b"\x08\x01" + message(2, message(2, b"\x08" + b"\xff" * 9 + b"\x01")),
    "a number that does not end": b"\x08\x03" + message(7, b"\x80"),
    "a number too long": b"\x08\x03" + message(7, b"\xff" * 50),
    "content of half a float": FLOATS_2 + message(4, bytes(7)),
    "content for strings": b"\x08\x07" + OF_2 + message(4, bytes(8)),
    "too many values": FLOATS_2 + message(5, bytes(40)),
    "strings for floats": FLOATS_2 + message(8, b"a") + message(8, b"b"),
    "floats for strings": b"\x08\x07" + OF_2 + message(5, bytes(8)),
    "type 19": b"\x08\x13", "no type": b"", "nan": client.encode_tensor(np.array([np.nan, 0.5], np.float32)),
    "a scalar": client.encode_tensor(np.array(0.5, np.float32)), "three": client.encode_tensor(np.zeros(3, np.float32)),
    "texts": client.encode_tensor([b"0.1", b"0.2"]),
}


@pytest.mark.parametrize("tensor", list(TENSORS.values()), ids=list(TENSORS))
def test_tensors_that_no_export_gives(rpc, answering, tensor):
    answering.body = response(sound_tensors())
    is_sane(rpc.inspect(FILES))
    answering.body = response(sound_tensors(score=tensor))
    tracemalloc.start()
    try:
        assert "predict of model vials" in said(lambda: rpc.inspect(FILES))
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["is_anomalous", "valid"])
@pytest.mark.parametrize("values", [np.array([2, 0], np.int32), np.array([0, 0], np.float32), [b"", b""],
                                    np.array([[0], [0]], np.int32), np.array([0], np.int32)], ids=repr)
def test_decisions_that_no_export_gives(rpc, answering, name, values):
    answering.body = response(sound_tensors(**{name: values}))
    said(lambda: rpc.inspect(FILES))


def test_messages_that_are_none(rpc, answering):
    whole = response(sound_tensors())
    for body in [whole[:length] for length in range(len(whole))] + [
            b"\xff" * 22, b"\x0a" + HUGE, b"\x0a\xff", message(1, b"\x0a\x02\xff\xfe" + message(2, b"")),
            b"<html></html>", message(1, b"\x08" + HUGE), message(1, message(1, b"score") + b"\x10" + HUGE),
            b"\x08" + HUGE, b"\x0b", b"\x0e"]:
        answering.body = body
        said(lambda: rpc.inspect(FILES))
    for body in (message(1, b"\x0a\x01\x01"), message(1, b"\x08\x01\x12\x01\x01"), b"\x08\x01\xff",
                 message(1, b"\xff" * 22)):
        answering.body = body
        said(rpc.status)
    key = message(1, b"signature_def")
    for body in (b"", b"\xff" * 22, message(2, key), message(2, key + message(2, message(2, message(1, b"\x0a\xff"))))):
        answering.body = body
        said(rpc.metadata)


# At random ------------------------------------------------------------------------------------------------------------


def mutated(rng, content):
    """`content` with one to four bytes changed, left out, put in, or a part cut or doubled."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(content) + 1), rng.randrange(6)
        if kind == 0:
            content[at:at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del content[at:at + rng.randint(1, 5)]
        elif kind == 2:
            content[at:at] = rng.choice([HUGE, b"\xff" * 10, b"null", b"NaN", b"[", b"]", b"{", b'"', b"-", b"9" * 30])
        elif kind == 3:
            content[at:at] = content[at:at + rng.randint(1, 40)]
        elif kind == 4 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif rng.random() < 0.1:
            del content[at:]
    return bytes(content)


@pytest.mark.parametrize("way", ["rest", "rpc"])
def test_mutated_answers_end_sane_or_refused(way, answering, rest, rpc):
    asked, count, rng = {"rest": (rest, 600), "rpc": (rpc, 2000)}[way] + (random.Random(0),)
    amap = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2, 1)
    by_value = FLOATS_2 + message(5, np.array([0.25, 0.5], np.float32).tobytes())
    seeds = {"rest": [outputs(), outputs(anomaly_map=amap.tolist())],
             "rpc": [response(sound_tensors()), response(sound_tensors(score=by_value, anomaly_map=amap))]}[way]
    ended = {"sane": 0, "refused": 0}
    if way == "rpc":
        tracemalloc.start()
    try:
        for i in range(count):
            answering.body = mutated(rng, seeds[i % 2])
            try:
                is_sane(asked.inspect(FILES))
                ended["sane"] += 1
            except ServingError as error:
                assert "\n" not in str(error) and "vials" in str(error)
                ended["refused"] += 1
            for call in (asked.predict, asked.status, asked.metadata) if i % 10 == 0 else ():
                try:
                    call({"images": np.zeros((1, 2), np.float32)}) if call == asked.predict else call()
                except ServingError:
                    pass
        assert tracemalloc.get_traced_memory()[1] < MEMORY  # 0 where it was not started
    finally:
        tracemalloc.stop()
    assert ended["refused"] > count // 2 and ended["sane"] > count // 40, ended  # both ends are reached


# The command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(rest, tmp_path, capsys):
    """Calls the client on two pictures; (exit status, lines on stdout, lines on stderr)."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")

    def call(*more, way=("--rest", rest.address), files=("a.png", "b.png")):
        status = client.main([*way, "--model", "vials", "--timeout", "5", *more, *(str(tmp_path / n) for n in files)])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()
    return call


def test_never_good_for_garbage(command, answering):
    answering.body = outputs()
    status, out, err = command()
    assert status == 0 and [line.split()[:2] for line in out] == [["0.250000", "good"], ["0.750000", "DEFECT"]]
    for changed in NO_ANSWER.values():
        answering.body = outputs(**changed)
        status, out, err = command()
        assert status == 2 and out == [] and len(err) == 1 and err[0].startswith("error: http://"), changed


def test_what_is_not_valid_is_said_so_and_the_status_is_not_0(command, answering):
    answering.body = outputs(valid=[0, 1], is_anomalous=[1, 0], score=[1.0, 0.25])
    status, out, err = command()
    assert status == 1 and [line.split()[1] for line in out] == ["INVALID", "good"] and err == []


def test_overlays_are_png_and_their_names_fit(command, answering, tmp_path):
    long = "x" * 250 + ".png"
    (tmp_path / long).write_bytes(b"x")
    maps = tmp_path / "maps"
    answering.body = json.dumps({"outputs": dict(SOUND, overlay_bytes=["<html>", "<html>"])}).encode()
    status, out, err = command("--overlay", str(maps))
    assert status == 2 and out == [] and "overlay_bytes of a picture is b'<html>'" in err[0] and not maps.exists()
    answering.body = outputs(overlay_bytes=[{"b64": base64.b64encode(PNG).decode()}] * 2)
    assert command("--overlay", str(maps), files=("a.png", long))[0] == 0
    names = sorted(os.listdir(maps))
    assert names[0] == "a.png_map.png" and names[1].endswith("_map.png") and len(names) == 2
    assert (maps / names[1]).read_bytes() == PNG
    assert client.overlay_names([long, "y" + long[1:]])[0] == names[1] != client.overlay_names(["y" + long[1:]])[0]


@pytest.mark.parametrize("more", [
    ("--timeout", "nan"), ("--timeout", "inf"), ("--timeout", "-1"), ("--timeout", "1e300"), ("--version", "-1"),
    ("--version", str(2**64)), ("--model", ""), ("--model", "a\nb")], ids=repr)
def test_arguments_that_cannot_be_meant(command, more):
    status, out, err = command(*more)
    assert status == 2 and out == [] and len(err) == 1 and err[0].startswith(f"error: {more[0][2:]} ")


@pytest.mark.parametrize("way", [("--rest", "localhost:8501"), ("--rest", ""), ("--rest", "ftp://localhost"),
                                 ("--rest", "http://["), ("--rest", "http://:x"), ("--grpc", "http://localhost:8500"),
                                 ("--grpc", ""), ("--rest", "http://" + "a" * 300)], ids=repr)
def test_addresses_that_cannot_be_meant(command, way):
    status, out, err = command(way=way)
    assert status == 2 and out == [] and len(err) == 1 and err[0].startswith("error: ")


def test_a_name_that_the_terminal_cannot_print(rest, answering, tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"Stra\xdfe-\xe2\x82\xac.png")
    with open(name, "wb") as stream:
        stream.write(b"x")
    answering.body = outputs(score=[0.5], is_anomalous=[1], valid=[1])
    done = subprocess.run([sys.executable, client.__file__, "--rest", rest.address, "--model", "vials", name],
                          env=dict(os.environ, PYTHONIOENCODING="ascii"), capture_output=True)
    assert done.returncode == 0 and done.stdout.endswith(b"Stra\\udcdfe-\\u20ac.png\n"), done.stderr


@pytest.mark.parametrize("call, said", [
    (lambda asked: asked.inspect(b"one"), "list of the bytes"), (lambda asked: asked.inspect([]), "list of the bytes"),
    (lambda asked: asked.inspect(["a.png"]), "list of the bytes"),
    (lambda asked: asked.inspect([None]), "list of the bytes"),
    (lambda asked: asked.inspect(FILES, [b"roi"]), "1 regions for 2 pictures"),
    (lambda asked: asked.inspect(FILES, FILES, True), "an overlay with a region")])
def test_arguments_of_the_library_that_cannot_be_meant(rest, rpc, call, said):
    for asked in (rest, rpc):
        with pytest.raises(ValueError, match=said):
            call(asked)


def test_nan_goes_by_grpc_only(rest, rpc, answering):
    broken = np.full((1, 2, 2, 3), np.nan, np.float32)
    with pytest.raises(ValueError, match="NaN or infinity, which JSON cannot say; gRPC sends them"):
        rest.predict({"images": broken})
    answering.body = response({"valid": np.array([0], np.int32)})
    assert rpc.predict({"images": broken}) == {"valid": [0]}
    for asked in (rest, rpc):
        with pytest.raises(TypeError, match="list of bytes, or an array"):
            asked.predict({"image_bytes": b"a file that is not in a list"})
