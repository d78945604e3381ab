"""A version in one tar: the same bytes each time, readable by others, and nothing in it that its list does not name."""
import io
import json
import os
import tarfile

import pytest

from grdnet_tf.cli import verify as command
from grdnet_tf.errors import ExportStopped, InputError
from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.serving import bundle, publish, server_files


@pytest.fixture
def version(tmp_path):
    """DIR/vials/3, beside DIR/other/1, that one server shares."""
    out = str(tmp_path / "exports")

    def write(folder):
        os.mkdir(os.path.join(folder, "variables"))
        for name, content in {"saved_model.pb": b"graph", "variables/data": bytes(range(256)) * 9}.items():
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(content)
        return {"model": "m"}

    for name, number in (("other", 1), ("vials", 3)):
        folder, = publish.publish(number, {os.path.join(out, name): write})
        server_files.write_server_files(out, name, server_files.Description(number, (32, 32), 3, Limits(0.5, 0.5), (1,), "2.15.1"))
    return folder


@pytest.fixture
def tar(version, tmp_path):
    path = str(tmp_path / "vials.tar")
    bundle.write(path, [version])
    return path


def entries(path):
    with tarfile.open(path) as stream:
        return [(entry, stream.extractfile(entry).read()) for entry in stream]


def rewritten(path, content, extra=()):
    with tarfile.open(path, "w") as stream:
        for entry, data in [*content, *extra]:
            entry.size = len(data)
            stream.addfile(entry, io.BytesIO(data))


def test_a_bundle_is_the_version_and_what_a_server_needs_for_it_alone(version, tar, tmp_path):
    found = {entry.name: data for entry, data in entries(tar)}
    served = {f"vials/3/{name}" for name in ("saved_model.pb", "variables/data", "manifest.json")}
    assert set(found) == {"bundle.json", *served, *(f"serving/{name}" for name in server_files.FILES)}
    for name in served:
        with open(os.path.join(os.path.dirname(os.path.dirname(version)), name), "rb") as stream:
            assert stream.read() == found[name]
    settings = found["serving/models.config"].decode()
    assert 'name: "vials"' in settings and "other" not in settings  # a server that misses a model does not start
    assert {(entry.mode, entry.uid, entry.mtime) for entry, _ in entries(tar)} == {(0o644, 0, 0)}
    assert bundle.verify(tar).keys() == found.keys() - {"bundle.json"}
    os.utime(os.path.join(version, "saved_model.pb"), (1, 1))
    bundle.write(str(tmp_path / "again.tar"), [version])
    with open(tar, "rb") as one, open(tmp_path / "again.tar", "rb") as other:
        assert one.read() == other.read()


def test_a_version_that_has_changed_is_not_bundled(version, tmp_path):
    with open(os.path.join(version, "saved_model.pb"), "ab") as stream:
        stream.write(b"!")
    with pytest.raises(ExportStopped, match="saved_model.pb: not the file that the manifest lists"):
        bundle.write(str(tmp_path / "a.tar"), [version])
    assert not os.path.exists(tmp_path / "a.tar")


def test_every_changed_byte_of_a_file_is_named(tar):
    content = entries(tar)
    for place, (entry, data) in enumerate(content):
        if entry.name == "bundle.json":
            continue
        for at in (0, len(data) // 2, len(data) - 1):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
            rewritten(tar, [*content[:place], (entry, changed), *content[place + 1:]])
            with pytest.raises(ExportStopped, match=f"{entry.name}: changed"):
                bundle.verify(tar)


def named(name, kind=tarfile.REGTYPE, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize("entry, reason", [
    (named("../../outside"), "not a plain file within the bundle"), (named("/etc/x"), "not a plain file"),
    (named("vials/3/link", tarfile.SYMTYPE, "/etc/passwd"), "not a plain file"), (named("a\\..\\b"), "not a plain file"),
    (named("vials/3/pipe", tarfile.FIFOTYPE), "not a plain file"), (named("vials/3/more.pb"), "not in its list"),
    (named("vials/3/saved_model.pb"), "is there twice"), (named("bundle.json"), "is there twice")])
def test_what_does_not_belong_there_is_named(tar, entry, reason):
    rewritten(tar, entries(tar), [(entry, b"")])
    with pytest.raises(ExportStopped, match=reason) as error:
        bundle.verify(tar)
    assert entry.name in str(error.value)


def test_a_missing_file_and_a_cut_or_foreign_one(tar, tmp_path):
    content = entries(tar)
    rewritten(tar, [one for one in content if not one[0].name.endswith("variables/data")])
    with pytest.raises(ExportStopped, match="vials/3/variables/data: missing"):
        bundle.verify(tar)
    rewritten(tar, [(entry, b'{"format": 2, "files": {}}' if entry.name == "bundle.json" else data)
                    for entry, data in content])
    with pytest.raises(ExportStopped, match="no bundle"):
        bundle.verify(tar)
    with open(tar, "r+b") as stream:
        stream.truncate(2000)
    with pytest.raises(ExportStopped, match="no bundle .* or damaged"):
        bundle.verify(tar)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ExportStopped, match="text: no bundle"):
        bundle.verify(str(tmp_path / "text"))


def test_the_command_looks_at_a_bundle_and_at_every_kind_of_folder(version, tar, capsys):
    model = os.path.dirname(version)
    shared = os.path.dirname(model)
    for path, told in ((tar, [tar]), (version, [version]), (model, [version]),
                       (shared, [os.path.join(shared, "other", "1"), version])):
        assert command.main([path]) == 0
        assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == told
    with open(os.path.join(version, "variables", "data"), "r+b") as stream:
        stream.write(b"x")
    assert command.main([shared]) == 1
    assert "variables/data: not the file that the manifest lists" in capsys.readouterr().err
    assert command.main([os.path.join(shared, "serving")]) == 2
    assert "no version in it" in capsys.readouterr().err
    assert command.main([os.path.join(shared, "nowhere")]) == 2


def test_a_bundle_goes_where_its_folder_is(version, tmp_path):
    with pytest.raises(InputError, match="cannot write .*nowhere"):
        bundle.write(str(tmp_path / "nowhere" / "a.tar"), [version])


def test_the_list_is_of_sha256(tar):
    listed = json.loads(dict((entry.name, data) for entry, data in entries(tar))["bundle.json"])["files"]
    assert listed["vials/3/saved_model.pb"] == (  # by sha256sum, of the five letters "graph"
        "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d")
