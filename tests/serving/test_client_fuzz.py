"""The client among mutated answers, and its command line: never good for garbage."""
import base64
import json
import os
import random
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from answers import FILES, FLOATS_2, HUGE, MEMORY, NO_ANSWER, PNG, SOUND, is_sane, outputs, response, sound_tensors

from grdnet_tf.serving import client
from grdnet_tf.serving.client import ServingError, message

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
    assert status == 0 and [line.split()[:2] for line in out] == [["0.250000", "look"], ["0.750000", "DEFECT"]]
    for changed in NO_ANSWER.values():
        answering.body = outputs(**changed)
        status, out, err = command()
        assert status == 2 and out == [] and len(err) == 1 and err[0].startswith("error: http://"), changed


def test_what_is_not_valid_is_said_so_and_the_status_is_not_0(command, answering):
    answering.body = outputs(valid=[0, 1], is_anomalous=[1, 0], verdict=[2, 0], score=[1.0, 0.25])
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
    answering.body = outputs(score=[0.5], is_anomalous=[1], verdict=[2], valid=[1])
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
