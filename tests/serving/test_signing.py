"""Signatures by the real package: whatever is not as the key's owner signed it is one line and exit status 2."""
import json
import os
import shutil

import pytest

from grdnet_tf.cli import sign, verify
from grdnet_tf.errors import InputError
from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.serving import bundle, publish, server_files, signing

verifying = pytest.importorskip("model_signing.verifying", reason="needs model-signing and pyopenssl (extra signing)")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """(private, public) PEM files of two owners; the second key is encrypted, password "a word"."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    found, folder = [], tmp_path_factory.mktemp("keys")
    for name, curve, hidden in (("one", ec.SECP256R1(), serialization.NoEncryption()),
                                ("two", ec.SECP384R1(), serialization.BestAvailableEncryption(b"a word"))):
        key, paths = ec.generate_private_key(curve), [str(folder / f"{name}.pem"), str(folder / f"{name}.pub")]
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
        public = key.public_key().public_bytes(serialization.Encoding.PEM,
                                               serialization.PublicFormat.SubjectPublicKeyInfo)
        for path, content in zip(paths, (private, public)):
            with open(path, "wb") as stream:
                stream.write(content)
        found.append(tuple(paths))
    return found


@pytest.fixture(autouse=True)
def no_password(monkeypatch):
    monkeypatch.delenv(signing.PASSWORD, raising=False)


@pytest.fixture
def version(tmp_path):
    """exports/vials/3."""
    def write(folder):
        os.mkdir(os.path.join(folder, "variables"))
        for name, content in {"saved_model.pb": b"graph", "variables/data": bytes(range(256)) * 9}.items():
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(content)
        return {"model": "vials", "version": 3}

    out = str(tmp_path / "exports")
    folder, = publish.publish(3, {os.path.join(out, "vials"): write})
    server_files.write_server_files(out, "vials", server_files.Description(
        3, (32, 32), 3, Limits(0.5, 0.5), (1,), "2.15.1"))
    return folder


@pytest.fixture
def signed(version, keys):
    assert sign.main([version, "--key", keys[0][0], "--quiet"]) == 0
    return version


def refused(capsys, path, key, *words):
    """Whether `grdnet verify` ends with 2 and one line with these words in it."""
    capsys.readouterr()
    assert verify.main([path, "--public-key", key]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1, said
    assert all(word in said.err for word in words), said.err


def test_a_signed_version_is_told_from_an_unsigned_one(version, keys, capsys):
    private, public = keys[0]
    assert verify.main([version]) == 0
    assert "(2 files; unsigned)" in capsys.readouterr().out
    refused(capsys, version, public, "unsigned", "model.sig")
    assert sign.main([version, "--key", private]) == 0
    assert capsys.readouterr().out == f"signed: {os.path.join(version, 'model.sig')}\n"
    for path in (version, os.path.dirname(version), os.path.dirname(os.path.dirname(version))):
        assert verify.main([path, "--public-key", public]) == 0
        assert f"(2 files; signed with {public})" in capsys.readouterr().out
    assert verify.main([version]) == 0 and "signed, not looked at: --public-key" in capsys.readouterr().out


def test_the_package_itself_checks_what_we_signed(signed, keys):
    config = verifying.Config().use_elliptic_key_verifier(public_key=keys[0][1])
    config.verify(signed, os.path.join(signed, "model.sig"))
    with open(os.path.join(signed, "saved_model.pb"), "ab") as stream:
        stream.write(b"!")
    with pytest.raises(ValueError, match="saved_model.pb"):
        config.verify(signed, os.path.join(signed, "model.sig"))
    with open(os.path.join(signed, "model.sig"), encoding="utf-8") as stream:
        assert json.load(stream)["mediaType"].startswith("application/vnd.dev.sigstore.bundle")


def test_a_version_may_be_copied_and_renamed(signed, keys, tmp_path):
    shutil.copytree(signed, tmp_path / "elsewhere" / "12")
    signing.check(str(tmp_path / "elsewhere" / "12"), keys[0][1])


def change(version, name):
    with open(os.path.join(version, name), "ab") as stream:
        stream.write(b"!")


def add(version, name):
    os.makedirs(os.path.dirname(os.path.join(version, name)), exist_ok=True)
    change(version, name)


def listed_anew(version):
    """The manifest as a forger would write it, who can count digests but has no key."""
    os.remove(os.path.join(version, publish.MANIFEST))
    from grdnet_tf.storage import file_sha256, write_json

    write_json(os.path.join(version, publish.MANIFEST), {"model": "vials", "version": 3, "files": {
        name: file_sha256(os.path.join(version, name)) for name in publish.files(version)}})
    publish.verify(version)


@pytest.mark.parametrize("forged", [False, True], ids=["", "and listed"])
@pytest.mark.parametrize("harm,name", [
    (change, "saved_model.pb"), (change, "variables/data"), (add, "variables/more"), (add, ".gitignore"),
    (add, ".github/workflow"), (add, "inner/model.sig"),
    (lambda version, name: os.remove(os.path.join(version, name)), "saved_model.pb")])
def test_what_is_not_as_it_was_signed_is_refused(signed, keys, capsys, harm, name, forged):
    harm(signed, name)
    if forged:
        listed_anew(signed)
    refused(capsys, signed, keys[0][1], "not as signed" if forged else name)


def test_a_link_is_refused(signed, keys, capsys, tmp_path):
    os.rename(os.path.join(signed, "model.sig"), tmp_path / "model.sig")
    os.symlink(tmp_path / "model.sig", os.path.join(signed, "model.sig"))
    refused(capsys, signed, keys[0][1], "model.sig: a link")


def test_the_key_of_another_is_refused_and_a_private_one_too(signed, keys, capsys, tmp_path):
    refused(capsys, signed, keys[1][1], "not as signed with", "Key mismatch")
    refused(capsys, signed, keys[0][0], "expected a public key")
    (tmp_path / "empty.pub").write_bytes(b"")
    refused(capsys, signed, str(tmp_path / "empty.pub"), "expected a public key")
    refused(capsys, signed, str(tmp_path / "absent.pub"), "absent.pub: not there")


def test_a_damaged_signature_is_refused(signed, keys, capsys):
    path = os.path.join(signed, "model.sig")
    with open(path, encoding="utf-8") as stream:
        whole = json.load(stream)
    envelope = whole["dsseEnvelope"]
    other = [{"sig": "AAAA" + envelope["signatures"][0]["sig"][4:]}]
    swapped = dict(whole, dsseEnvelope=dict(envelope, signatures=other))
    for content in ("", "{}", "[" * 100_000, "null", json.dumps(whole)[:-9], json.dumps(swapped),
                    json.dumps(dict(whole, dsseEnvelope=dict(envelope, signatures=[]))),
                    json.dumps(dict(whole, dsseEnvelope=dict(envelope, payload="e30="))),
                    json.dumps(dict(whole, verificationMaterial={"publicKey": {}})).replace(envelope["payload"], "")):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(content)
        refused(capsys, signed, keys[0][1], "not as signed")


def test_a_bundle_is_signed_as_one_file_and_holds_the_version_s_own(signed, keys, capsys, tmp_path, monkeypatch):
    tar = str(tmp_path / "vials.tar")
    bundle.write(tar, [signed])
    assert "vials/3/model.sig" in bundle.verify(tar)
    refused(capsys, tar, keys[1][1], "unsigned, expected", "vials.tar.sig")
    monkeypatch.setenv(signing.PASSWORD, "a word")
    assert sign.main([tar, "--key", keys[1][0]]) == 0
    assert verify.main([tar, "--public-key", keys[1][1]]) == 0
    os.makedirs(tmp_path / "moved")
    for name in ("vials.tar", "vials.tar.sig"):
        shutil.copy(tmp_path / name, tmp_path / "moved" / name)
    assert verify.main([str(tmp_path / "moved" / "vials.tar"), "--public-key", keys[1][1]]) == 0
    other = str(tmp_path / "exports" / "serving" / "client.py")  # what the version's own signature does not cover
    with open(other, "a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    bundle.write(tar, [signed])
    bundle.verify(tar)
    refused(capsys, tar, keys[1][1], "not as signed")


def test_what_is_not_whole_is_not_signed(version, keys, capsys, tmp_path):
    change(version, "saved_model.pb")
    assert sign.main([version, "--key", keys[0][0]]) == 1
    assert not os.path.exists(signing.place(version))
    assert sign.main([os.path.dirname(version), "--key", keys[0][0]]) == 2
    assert sign.main([str(tmp_path / "absent"), "--key", keys[0][0]]) == 2
    assert capsys.readouterr().err.count("\n") == 3


@pytest.mark.parametrize("password", [None, "another word"])
def test_a_key_that_does_not_open_is_one_line(version, keys, monkeypatch, password):
    if password:
        monkeypatch.setenv(signing.PASSWORD, password)
    # One wrong password in some hundred opens to what is no key: its line then says so instead.
    with pytest.raises(InputError, match="two.pem: not used" + ("" if password else ".*[Pp]assword")):
        signing.sign(version, keys[1][0])
    with pytest.raises(InputError, match="one.pub: not used"):
        signing.sign(version, keys[0][1])
    assert not os.path.exists(signing.place(version))
