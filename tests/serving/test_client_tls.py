"""The client over TLS: the server's certificate is always verified, and the token goes nowhere else."""
import concurrent.futures
import datetime
import http.server
import ipaddress
import os
import ssl
import subprocess
import sys
import threading

import pytest
from answers import FILES, grpc, outputs, response, said, sound_tensors

from grdnet_tf.serving import client
from grdnet_tf.serving.client import GrpcClient, RestClient

x509 = pytest.importorskip("cryptography.x509", reason="needs cryptography, which comes with the extra signing")
TOKEN = "s3cret-t0ken"


class Authority:
    """Signs certificates for servers; `file` is its own, in PEM."""

    def __init__(self, folder, name):
        self.folder, self.name, self.key = folder, name, new_key()
        self.file = str(folder / f"{name}.pem")
        self.certificate = self.signed(name, self.key, x509.BasicConstraints(True, None))
        with open(self.file, "wb") as stream:
            stream.write(pem(self.certificate))

    def signed(self, name, key, *extensions, end=datetime.timedelta(days=1)):
        from cryptography.hazmat.primitives import hashes

        now, subject = datetime.datetime.now(datetime.timezone.utc), common(name)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(common(self.name)).public_key(
            key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(
            now - datetime.timedelta(days=2)).not_valid_after(now + end)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def server(self, name, address="127.0.0.1", **options):
        """(certificate, key) in PEM of a server at an address."""
        from cryptography.hazmat.primitives import serialization

        key = new_key()
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption())
        return pem(self.signed(name, key, alternative, issuer, **options)), private


def new_key():
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def common(name):
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])


def pem(certificate):
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder, "ours")


@pytest.fixture(scope="module")
def other(folder):
    return Authority(folder, "another")


@pytest.fixture(scope="module")
def certificates(authority, other):
    return {"sound": authority.server("sound"), "another's": other.server("another's"),
            "of another host": authority.server("host", "127.0.0.2"),
            "expired": authority.server("expired", end=-datetime.timedelta(days=1))}


class Server:
    """REST and gRPC at `rest` and `grpc` of this machine, by Python's ssl and gRPC's; `seen`: the tokens they got."""

    def __init__(self, folder, certificate, key):
        self.seen = seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                seen.append(self.headers.get("Authorization") or self.headers.get("X-Api-Key"))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = outputs()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Calls(grpc.GenericRpcHandler):
            def service(self, details):
                told = dict(details.invocation_metadata)
                seen.append(told.get("authorization") or told.get("x-api-key"))
                return grpc.unary_unary_rpc_method_handler(lambda request, context: response(sound_tensors()))

        for name, content in (("server.pem", certificate), ("server.key", key)):
            (folder / name).write_bytes(content)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.web.handle_error = lambda *_: None  # who ends a handshake
        self.web.socket = context.wrap_socket(self.web.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        self.calls = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        self.calls.add_generic_rpc_handlers((Calls(),))
        port = self.calls.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        self.calls.start()
        self.rest, self.grpc = f"https://127.0.0.1:{self.web.server_address[1]}", f"grpcs://127.0.0.1:{port}"

    def close(self):
        self.web.shutdown()
        self.web.server_close()
        self.calls.stop(None)


@pytest.fixture(scope="module")
def servers(folder, certificates):
    found = {name: Server(folder, *pair) for name, pair in certificates.items()}
    yield found
    for server in found.values():
        server.close()


WAYS = pytest.mark.parametrize("kind,way", [(RestClient, "rest"), (GrpcClient, "grpc")], ids=["rest", "grpc"])


def made(kind, way, server, **options):
    return kind(getattr(server, way), "vials", timeout=5, **options)


@WAYS
def test_a_certificate_of_the_named_authority_is_taken_and_the_token_sent(servers, authority, kind, way, monkeypatch,
                                                                         tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))  # which `requests` would put in the token's place
    server = servers["sound"]
    server.seen.clear()
    for options in ({}, {"token": TOKEN}, {"token": TOKEN, "token_header": "X-Api-Key"}):
        found = made(kind, way, server, ca_file=authority.file, **options)
        assert found.inspect(FILES)["is_anomalous"] == [0, 1]
        found.close()
    assert server.seen[1:] == [f"Bearer {TOKEN}", TOKEN]


@WAYS
@pytest.mark.parametrize("name", ["another's", "of another host", "expired"])
def test_no_other_certificate_is_taken_and_no_token_sent(servers, authority, kind, way, name):
    servers[name].seen.clear()
    found = made(kind, way, servers[name], ca_file=authority.file, token=TOKEN)
    told = said(lambda: found.inspect(FILES))
    assert "certificate verify failed" in told if way == "rest" else "UNAVAILABLE" in told
    assert TOKEN not in told and servers[name].seen == []
    found.close()


@WAYS
def test_an_authority_that_the_system_does_not_know_is_refused(servers, kind, way, monkeypatch):
    """Also where an empty variable turned the verification of older versions of `requests` off."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
    servers["sound"].seen.clear()
    found = made(kind, way, servers["sound"], token=TOKEN)
    assert "certificate verify failed" in said(found.status) if way == "rest" else "UNAVAILABLE" in said(found.status)
    assert servers["sound"].seen == []
    found.close()


def test_the_named_authority_holds_whatever_the_environment_names(servers, authority, other, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.file)
    for name, sound in (("sound", True), ("another's", False)):
        found = made(RestClient, "rest", servers[name], ca_file=authority.file)
        if sound:
            found.inspect(FILES)
        else:
            assert "certificate verify failed" in said(lambda: found.inspect(FILES))
        found.close()


@pytest.mark.parametrize("kind,plain", [(RestClient, "http://127.0.0.1:8501"), (GrpcClient, "127.0.0.1:8500")])
def test_no_token_and_no_authority_without_tls(kind, plain, authority):
    with pytest.raises(ValueError, match="without TLS no certificate is verified; expected (https|grpcs)://"):
        kind(plain, "vials", ca_file=authority.file)
    with pytest.raises(ValueError, match="would be read by whoever listens") as error:
        kind(plain, "vials", token=TOKEN)
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize("options", [
    {"token": ""}, {"token": "two words"}, {"token": f"{TOKEN}\r\nHost: x"}, {"token": "\u00fc"}, {"token": b"x"},
    {"token": TOKEN, "token_header": "a: b"}, {"token": TOKEN, "token_header": ""}], ids=repr)
def test_tokens_that_cannot_be_sent(options):
    for kind, address in ((RestClient, "https://127.0.0.1"), (GrpcClient, "grpcs://127.0.0.1")):
        with pytest.raises(ValueError) as error:
            kind(address, "vials", **options)
        assert TOKEN not in str(error.value)


@pytest.mark.parametrize("content", [
    None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x" * 99])
def test_a_file_without_certificates(content, tmp_path):
    path = str(tmp_path / "ca.pem")
    if content is not None:
        with open(path, "wb") as stream:
            stream.write(content)
    for kind, address in ((RestClient, "https://127.0.0.1"), (GrpcClient, "grpcs://127.0.0.1")):
        with pytest.raises(ValueError, match="ca.pem: no certificates in PEM"):
            kind(address, "vials", ca_file=path)


def test_the_command_line(servers, authority, other, tmp_path):
    """The file alone, no line beside the error's; a token in a file or the environment, none among the arguments."""
    (tmp_path / "part.png").write_bytes(b"x")
    (tmp_path / "token").write_text(f"{TOKEN}-of-file\n")
    server = servers["sound"]

    def call(*argv, **environment):
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GRDNET_TOKEN")}
        return subprocess.run([sys.executable, client.__file__, *argv, "--model", "vials", str(tmp_path / "part.png"),
                               str(tmp_path / "part.png")], cwd=tmp_path, env={**kept, **environment},
                              capture_output=True, text=True, timeout=60)

    for way in ("rest", "grpc"):
        server.seen.clear()
        to = [f"--{way}", getattr(server, way)]
        done = call(*to, "--ca-file", authority.file, "--token-file", str(tmp_path / "token"), GRDNET_TOKEN=TOKEN)
        assert done.returncode == 0 and done.stdout.count("\n") == 2, done.stderr
        assert call(*to, "--ca-file", authority.file, GRDNET_TOKEN=TOKEN).returncode == 0
        assert server.seen == [f"Bearer {TOKEN}-of-file", f"Bearer {TOKEN}"]
        for wrong in ([*to, "--ca-file", other.file], [*to, "--ca-file", str(tmp_path / "absent")],
                      [f"--{way}", to[1].split("://")[1] if way == "grpc" else to[1].replace("https", "http")],
                      [*to, "--ca-file", authority.file, "--token-file", str(tmp_path / "absent")]):
            done = call(*wrong, GRDNET_TOKEN=TOKEN)
            assert done.returncode == 2 and done.stdout == "" and TOKEN not in done.stderr, wrong
            assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert len(server.seen) == 2
