"""Who made an export: signatures in the sigstore format, made with a key on the disk. No TensorFlow.

    <version>/model.sig    of a version: over all of its files, by name and digest
    part.tar.sig           of a bundle: over the file

By the package model-signing (extra `signing`), whose own command checks them too. Keys are PEM files of the elliptic
curves P-256, P-384 or P-521.
"""
import io
import os
import re
import tempfile
from contextlib import contextmanager, redirect_stdout
from importlib import import_module

from ..errors import InputError, printable
from ..storage import write_file
from . import bundle, publish

PASSWORD = "GRDNET_KEY_PASSWORD"  # environment variable: of a private key that is encrypted


def place(path: str) -> str:
    """Where the signature of a version's folder, or of a bundle, lies."""
    return os.path.join(path, publish.SIGNATURE) if os.path.isdir(path) else f"{path}.sig"


def sign(path: str, key: str) -> str:
    """Sign a version's folder, or a bundle, with the private key in the file `key`; the signature's path.

    Raises: ExportStopped where the export is not what was written, which is not signed; InputError for what is no
    export, for a key that cannot be used, and where the package is missing.
    """
    signing, hashing = _package("signing"), _package("hashing")
    if not os.path.isdir(path):
        bundle.verify(path)
    elif os.path.isfile(os.path.join(path, publish.MANIFEST)):
        publish.verify(path)
    else:
        raise InputError(f"{path}: no version: expected a folder with {publish.MANIFEST}, or a bundle")
    password = os.environ.get(PASSWORD)
    with _refused(f"{key}: not used: expected a private key of P-256, P-384 or P-521 in PEM"):
        config = signing.Config().use_elliptic_key_signer(
            private_key=key, password=None if password is None else password.encode())
    with tempfile.TemporaryDirectory() as folder:
        fresh = os.path.join(folder, publish.SIGNATURE)
        with _refused(f"{path}: cannot be signed"):
            config.set_hashing_config(_all_files(hashing)).sign(path, fresh)
        with open(fresh, "rb") as stream:
            signature = stream.read()
    write_file(place(path), lambda stream: stream.write(signature))
    return place(path)


def check(path: str, key: str) -> None:
    """InputError, of one line, unless `path` is as it was signed by the owner of `key`, a file with the public key.

    That is a file that was changed, added or taken away, another key, a signature that is damaged or missing.
    """
    verifying, hashing = _package("verifying"), _package("hashing")
    if not os.path.isfile(place(path)):
        raise InputError(f"{path}: unsigned, expected {place(path)}")
    with _refused(f"{key}: not used: expected a public key of P-256, P-384 or P-521 in PEM"):
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    with _refused(f"{path}: not as signed with {key}"), redirect_stdout(io.StringIO()):  # it warns of older forms there
        config.set_hashing_config(_all_files(hashing)).verify(path, place(path))


def _all_files(hashing):
    return hashing.Config().set_ignored_paths(paths=[publish.SIGNATURE], ignore_git_paths=False)


def _package(module):
    try:
        return import_module(f"model_signing.{module}")
    except ImportError as error:
        raise InputError(f"signatures need the packages model-signing and pyopenssl (extra signing): {error}") from None


@contextmanager
def _refused(what):
    """Whatever the package raises, of a file that is not to be trusted, as one line of InputError."""
    try:
        yield
    except Exception as error:
        reason = re.split(r": Expected |\n", str(error))[0] or type(error).__name__
        raise InputError(f"{what} ({printable(reason[:200])})") from None
