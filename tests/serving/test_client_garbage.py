"""The client among broken servers: every answer ends in a sane result or in one ServingError, never in "good"."""
import json
import tracemalloc

import numpy as np
import pytest
from answers import FILES, FLOATS_2, HUGE, MEMORY, NO_ANSWER, OF_2, PNG, is_sane, outputs, response, said, sound_tensors

from grdnet_tf.serving import client
from grdnet_tf.serving.client import RestClient, message

# What no export answers -----------------------------------------------------------------------------------------------



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

SHAPE = message(2, message(2, b"\x08" + HUGE))
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


def test_drift_is_told_and_ends_with_4(rest, answering, tmp_path, capsys):
    manifest, picture = tmp_path / "manifest.json", tmp_path / "part.png"
    manifest.write_text(json.dumps({"thresholds": {"image": {"good_scores": [0.24 + 0.001 * i for i in range(40)]}}}))
    picture.write_bytes(PNG)
    call = ["--rest", rest.address, "--model", "vials", "--batch", "2", "--drift", str(manifest), "--window", "20"]
    answering.body = outputs(score=[0.7, 0.8])
    assert client.main([*call, *[str(picture)] * 40]) == 4
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [(entry["drift"], entry["pictures"]) for entry in told] == [(True, 20)]
    answering.body = outputs(score=[0.25, 0.26], is_anomalous=[0, 0], verdict=[0, 0])
    assert client.main([*call, *[str(picture)] * 18]) == 0  # the window is not full
    answering.body = outputs(is_anomalous=[0, 1], valid=[1, 0])
    assert client.main([*call, *[str(picture)] * 18]) == 1  # what is no picture has no score
    capsys.readouterr()
    assert client.main([*call[:-3], str(picture), str(picture)]) == 2
    assert "no manifest with the scores" in capsys.readouterr().err


def test_an_export_from_before_verdicts_is_understood(rest, rpc, answering):
    """A line goes back to its last version: the client of the next one must not fail then."""
    old = {name: value for name, value in json.loads(outputs())["outputs"].items() if name != "verdict"}
    answering.body = json.dumps({"outputs": old}).encode()
    assert rest.inspect(FILES)["verdict"] == [0, 2]
    tensors = sound_tensors()
    del tensors["verdict"]
    answering.body = response(tensors)
    assert rpc.inspect(FILES)["verdict"] == [0, 2]
