"""A version is what its manifest says or refused by name; exports at once lose nothing; a full disk is the user's."""
import json
import os
import re
import subprocess
import sys

import pytest
import tensorflow as tf

from grdnet_tf import console
from grdnet_tf.errors import ExportStopped
from grdnet_tf.serving import publish

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture
def version(tmp_path):
    """A published version with a file in a folder and one beside it."""
    def write(folder):
        os.makedirs(os.path.join(folder, "variables"))
        for name in ("saved_model.pb", os.path.join("variables", "data")):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
                stream.write(name[:5])
        return {"model": "m"}

    folder, = publish.publish(1, {str(tmp_path / "m"): write})
    assert publish.verify(folder)["model"] == "m"
    return folder


# Verification ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["saved_model.pb", "variables", "manifest.json", os.path.join("variables", "data")])
def test_links_are_refused_whatever_they_point_to(version, tmp_path, name):
    path = os.path.join(version, name)
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(ExportStopped, match=rf"{re.escape(path)}: a link"):
        publish.verify(version)


@pytest.mark.parametrize("name", ["more", os.path.join("variables", "more")])
def test_a_link_that_no_manifest_lists_is_refused(version, tmp_path, name):
    for target in (tmp_path, tmp_path / "nowhere"):
        os.symlink(target, os.path.join(version, name))
        with pytest.raises(ExportStopped, match="more: a link"):
            publish.verify(version)
        os.remove(os.path.join(version, name))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_would_block_is_refused(version):
    os.remove(os.path.join(version, "saved_model.pb"))
    os.mkfifo(os.path.join(version, "saved_model.pb"))
    with pytest.raises(ExportStopped, match="saved_model.pb: no file"):
        publish.verify(version)


DIGEST = "0" * 64
MALFORMED = {
    "empty": "", "cut": '{"files": {', "null": "null", "list": "[]", "text": '"files"', "number": "7",
    "no files": "{}", "files null": '{"files": null}', "files list": '{"files": ["saved_model.pb"]}',
    "files of lists": '{"files": [[]]}', "files text": '{"files": "saved_model.pb"}', "files number": '{"files": 3}',
    "digest number": '{"files": {"saved_model.pb": 3}}', "digest null": '{"files": {"saved_model.pb": null}}',
    "digest list": '{"files": {"saved_model.pb": [[]]}}', "deep": "[" * 100_000, "not UTF-8": b'{"files": "\xff"}',
    "a number too long": '{"files": ' + "9" * 5000 + "}",
    "up": json.dumps({"files": {"../secret": DIGEST}}), "absolute": json.dumps({"files": {"/etc/passwd": DIGEST}}),
    "within": json.dumps({"files": {"variables/../saved_model.pb": DIGEST}}),
    "folder": json.dumps({"files": {"variables": DIGEST}}), "nul": json.dumps({"files": {"a\0b": DIGEST}}),
    "surrogate": json.dumps({"files": {"\ud800": DIGEST}}), "long": json.dumps({"files": {"x" * 5000: DIGEST}}),
}


@pytest.mark.parametrize("text", list(MALFORMED.values()), ids=list(MALFORMED))
def test_every_malformed_manifest_is_named(version, tmp_path, text):
    (tmp_path / "m" / "secret").write_text("")
    path = os.path.join(version, "manifest.json")
    with open(path, "wb") as stream:
        stream.write(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ExportStopped, match=re.escape(version)) as error:
        publish.verify(version)
    assert "\n" not in str(error.value)


def test_digests_of_the_wrong_kind_in_an_otherwise_whole_manifest(version):
    path = os.path.join(version, "manifest.json")
    with open(path, encoding="utf-8") as stream:
        content = json.load(stream)
    for wrong in (None, 3, [], {}, True, "", DIGEST):
        with open(path, "w", encoding="utf-8") as stream:
            json.dump({"files": dict(content["files"], **{"saved_model.pb": wrong})}, stream)
        with pytest.raises(ExportStopped, match=re.escape(version)):
            publish.verify(version)


def test_files_that_are_not_there_or_cannot_be_read(version, tmp_path, monkeypatch):
    with pytest.raises(ExportStopped, match="absent: No such file"):
        publish.verify(str(tmp_path / "absent"))
    path = os.path.join(version, "saved_model.pb")
    if hasattr(os, "geteuid") and os.geteuid():
        os.chmod(path, 0)
    else:  # root reads everything
        monkeypatch.setattr("builtins.open", lambda name, *more, opened=open, **other: opened(
            str(tmp_path / "absent" / "x") if str(name) == path else name, *more, **other))
    with pytest.raises(ExportStopped, match="(saved_model.pb: Permission denied|absent/x: No such file)"):
        publish.verify(version)
    monkeypatch.undo()
    os.remove(os.path.join(version, "manifest.json"))
    with pytest.raises(ExportStopped, match="manifest.json: No such file"):
        publish.verify(version)


# Several at once, and killed ------------------------------------------------------------------------------------------

EXPORT = """
import sys
from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.serving import publish, server_files
out, name = sys.argv[1:]
description = server_files.Description(1, (96, 128), 3, Limits(0.4, 0.4321), (1, 8), "2.15.1")
print("ready", flush=True)
sys.stdin.readline()
publish.publish(1, {f"{out}/{name}": lambda folder: {}},
                lambda: server_files.write_server_files(out, name, description))
"""


def test_exports_of_different_names_at_once_are_all_served(tmp_path):
    """With a fresh folder, and into what is there: models.config is made, or added to."""
    out = tmp_path / "out"
    for round_ in range(2):
        names = [f"model{round_}{letter}" for letter in "abcd"]
        processes = [subprocess.Popen([sys.executable, "-c", EXPORT, str(out), name], cwd=ROOT, text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name in names]
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate(timeout=60) and process.returncode for process in processes] == [0] * 4
        text = (out / "serving" / "models.config").read_text()
        assert all(text.count(f'name: "{name}"') == 1 and (out / name / "1").is_dir() for name in names)
    assert text.count("config {") == 8 and text.count("{") == text.count("}")
    assert sorted(os.listdir(out / "serving")) == ["README.md", "batching.config", "client.py", "docker-compose.yml",
                                                   "models.config", "monitoring.config"]


KILLED = """
import os, sys
from grdnet_tf.serving import publish
def write(folder):
    open(os.path.join(folder, "saved_model.pb"), "w").close()
    os.kill(os.getpid(), 9)
publish.publish(1, {sys.argv[1]: write})
"""


def test_what_a_killed_export_left_goes_with_the_next_one(tmp_path):
    home = str(tmp_path / "m")
    assert subprocess.run([sys.executable, "-c", KILLED, home], cwd=ROOT).returncode == -9
    left, = os.listdir(home)
    assert not left.isdecimal() and publish.free_version(home) == 1
    publish.publish(1, {home: lambda folder: {}})
    assert os.listdir(home) == ["1"]


# A full disk ----------------------------------------------------------------------------------------------------------


def stopped_by(error):
    def write(folder):
        raise error
    return write


@pytest.mark.parametrize("error", [
    OSError(28, "No space left on device"), tf.errors.ResourceExhaustedError(None, None, "x; No space left on device"),
    ExportStopped("ONNX Runtime cannot load the model: No space left on device"),
    RuntimeError("[ONNXRuntimeError] : 1 : FAIL : system error number 28: No space left on device")], ids=repr)
def test_a_full_disk_in_any_part_of_an_export_is_status_2(tmp_path, capsys, error):
    home = str(tmp_path / "m")
    assert console.ended(lambda: publish.publish(1, {home: stopped_by(error)})) == 2
    assert capsys.readouterr().err == f"error: cannot write {home}: No space left on device\n"
    assert os.listdir(tmp_path) == []


def test_another_failure_is_not_taken_for_a_full_disk(tmp_path, capsys):
    assert console.ended(lambda: publish.publish(1, {str(tmp_path / "m"): stopped_by(ExportStopped("differs"))})) == 1
    assert capsys.readouterr().err == "stopped: differs\n"
