#!/usr/bin/env python
"""Client of a TensorFlow Serving server that serves an export of grdnet_tf: REST or gRPC, files or tensors.

    python client.py --rest http://localhost:8501 --model vials part.png other.jpg
    python client.py --grpc localhost:8500 --model vials --overlay pictures part.png
    GRDNET_TOKEN=... python client.py --rest https://line.example --ca-file ca.pem --model vials part.png

One file to copy: it needs the standard library and `requests` for REST or `grpcio` for gRPC, nothing else.

    client = RestClient("http://localhost:8501", "vials")        # or GrpcClient("localhost:8500", "vials")
    found = client.inspect([open("part.png", "rb").read()])      # PNG, JPEG, BMP of any size
    found["score"], found["verdict"], found["valid"]             # lists, one entry a picture

    client.predict({"images": array}, "score")                   # a NumPy array (N, H, W, C) float32 in [0, 1]

    drift = Drift(good_scores("manifest.json"))                  # of the version that is served
    drift.add(found["score"][0])                                 # None, or what to tell: it has begun, it is over

The messages of gRPC are encoded here, field by field, after the public .proto files of TensorFlow and TensorFlow
Serving: their generated classes would bring a whole TensorFlow with them.
"""
import abc
import argparse
import base64
import bisect
import collections
import functools
import hashlib
import json
import math
import os
import re
import ssl
import sys
import time
import urllib.parse

BRIEF = ("score", "is_anomalous", "verdict", "valid")  # without the map, which is most of an answer
DTYPES = {1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 4: "DT_UINT8", 5: "DT_INT16", 6: "DT_INT8", 7: "DT_STRING",
          9: "DT_INT64", 10: "DT_BOOL", 17: "DT_UINT16", 22: "DT_UINT32", 23: "DT_UINT64"}
# The same as a memoryview names them.
FORMATS = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", 22: "I", 23: "Q"}
STRING = 7
DECISIONS = "good", "look again", "DEFECT"  # by verdict
LARGEST = 1 << 28  # bytes of an answer; more is not read
CELLS = 1 << 21    # numbers and lists that a short answer may unfold to: equal values are sent once
RANK = 8           # dimensions of a tensor
PNG = b"\x89PNG\r\n\x1a\n"
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class ServingError(RuntimeError):
    """No server, no answer in time, a refusal, or an answer that makes no sense; one line that says which and why."""


def reading(decode):
    """A function of an answer that raises ServingError, and nothing else, for an answer of another form."""
    @functools.wraps(decode)
    def decoded(answer):
        try:
            return decode(answer)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ServingError(f"the answer cannot be read ({type(error).__name__}: {error})") from None
    return decoded


class Client(abc.ABC):
    """What both ways have in common. `version` None is the newest one that is served; `timeout` in seconds a call.

    Where `address` says TLS ("https://", "grpcs://"), the server's certificate is always verified: against the system's
    or `requests`' authorities, or those in the PEM file `ca_file` alone. `token` goes with every call as
    "Authorization: Bearer TOKEN", or as it is in the header `token_header`; over TLS only.

    Raises: ValueError for an argument that cannot be meant.
    """
    TLS = ""  # how an address with it begins

    def __init__(self, address, model, version=None, timeout=10.0, ca_file=None, token=None,
                 token_header="Authorization"):
        for what, text in (("address", address), ("model", model)):
            if not isinstance(text, str) or not text.isprintable() or not text.strip():
                raise ValueError(f"{what} {text!r}: expected a text")
        if version is not None and (type(version) is not int or not 0 <= version < 1 << 63):
            raise ValueError(f"version {version!r}: expected a whole number from 0 on, or None for the newest")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < 1e6:
            raise ValueError(f"timeout {timeout!r}: expected seconds, more than 0 and less than a million")
        secure = address.startswith(self.TLS)
        if not secure and (ca_file is not None or token is not None):
            what = "no certificate is verified" if token is None else "a token would be read by whoever listens"
            raise ValueError(f"address {address}: without TLS {what}; expected {self.TLS}...")
        if ca_file is not None:
            try:
                ssl.create_default_context(cafile=os.fspath(ca_file))
            except OSError as error:
                raise ValueError(f"{ca_file}: no certificates in PEM ({error.strerror or error})") from None
        if token is not None and not (isinstance(token, str) and re.fullmatch(r"[!-~]+", token)):
            raise ValueError("the token: expected letters, digits and signs of ASCII, without spaces")
        if not re.fullmatch(r"[A-Za-z0-9-]+", token_header):
            raise ValueError(f"token header {token_header!r}: expected a name, as Authorization or X-Api-Key")
        bearer = "Bearer " if token_header.lower() == "authorization" else ""
        self.headers = {} if token is None else {token_header: bearer + token}
        self.address, self.model, self.version, self.timeout = address, model, version, timeout
        self.ca_file = None if ca_file is None else os.fspath(ca_file)

    def inspect(self, pictures, regions=None, overlay=False):
        """{"score", "is_anomalous", "verdict", "valid"} of `pictures`, a list of the bytes of PNG, JPEG or BMP files.

        verdict: 0 good, 1 look again, 2 reject; is_anomalous: 1 where it is 2.
        `regions`: the bytes of one PNG a picture, in which a pixel above 0 counts. `overlay`: also "overlay_bytes", PNG
        pictures under their anomaly map. A file that cannot be decoded has valid 0 and verdict 2.

        Raises: ServingError, also for a score outside [0, 1] and a decision that is not 0 or 1; ValueError.
        """
        pictures = _files(pictures)
        inputs, signature = {"image_bytes": pictures}, "serve_bytes_map" if overlay else "serve_bytes"
        if regions is not None and overlay:
            raise ValueError("an overlay with a region is not served; ask for one of them")
        if regions is not None:
            inputs, signature = {"image_bytes": pictures, "roi_bytes": _files(regions)}, "serve_bytes_roi"
            if len(inputs["roi_bytes"]) != len(pictures):
                raise ValueError(f"{len(inputs['roi_bytes'])} regions for {len(pictures)} pictures; expected one each")
        found = self._decided(inputs, signature, ("overlay_bytes",) if overlay else ())
        for name, values in found.items():
            if not isinstance(values, list) or len(values) != len(pictures):
                raise self._failed("predict", f"{name} is not one value a picture")
            for value in values:
                if not SENSIBLE[name](value):
                    raise self._failed("predict", f"{name} of a picture is {value!r:.40}, which no export gives")
        if not all(valid or bad for valid, bad in zip(found["valid"], found["is_anomalous"])):
            raise self._failed("predict", "a picture that is not valid is not anomalous either, which no export gives")
        if any((verdict == 2) != bad for verdict, bad in zip(found["verdict"], found["is_anomalous"])):
            raise self._failed("predict", "verdict and is_anomalous disagree, which no export gives")
        return found

    def _decided(self, inputs, signature, more):
        """What BRIEF names and `more`. An export from before there was looking again has no verdict: 2 or 0, then."""
        try:
            return self.predict(inputs, signature, BRIEF + more)
        except ServingError as error:
            if "verdict" not in str(error):
                raise
        before = self.predict(inputs, signature, tuple(name for name in BRIEF if name != "verdict") + more)
        bad = before["is_anomalous"]
        return dict(before, verdict=[2 if one else 0 for one in bad] if isinstance(bad, list) else bad)

    @abc.abstractmethod
    def predict(self, inputs, signature="serving_default", outputs=()):
        """{output name: nested lists, the batch first; strings as bytes}; `outputs` names those wanted, () is all.

        `inputs`: {name: NumPy array, or anything else with the buffer protocol; or a list of bytes}.
        Raises: ServingError; TypeError for an input of another kind; ValueError for numbers that cannot be sent.
        """

    @abc.abstractmethod
    def status(self):
        """{version: "AVAILABLE", "LOADING" ...} of the model. Raises: ServingError."""

    @abc.abstractmethod
    def metadata(self):
        """{signature: {"inputs": {name: ("DT_FLOAT", [-1, 256, 256, 3])}, "outputs": ...}}. Raises: ServingError."""

    def _decoded(self, what, decode, answer):
        try:
            return decode(answer)
        except ServingError as error:
            raise self._failed(what, error) from None

    def _chosen(self, found, outputs, signature):
        missing = [name for name in outputs if name not in found]
        if missing:
            raise self._failed("predict", f"signature {signature} has not all of the outputs {', '.join(outputs)}")
        return {name: found[name] for name in outputs or found}

    def _failed(self, what, why):
        line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(why).split()))
        return ServingError(f"{self.address}: {what} of model {self.model}: {line[:500]}")


def _files(contents):
    """The list of bytes that `contents` is. ValueError for anything else."""
    contents = [] if isinstance(contents, (bytes, str)) else list(contents)
    if not contents or not all(isinstance(content, bytes) for content in contents):
        raise ValueError("expected a list of the bytes of one or more files, as [open(name, 'rb').read()]")
    return contents


SENSIBLE = {"score": lambda value: type(value) in (int, float) and -1e-3 <= value <= 1.001,  # NaN is not
            "is_anomalous": lambda value: type(value) in (int, bool) and value in (0, 1),
            "verdict": lambda value: type(value) is int and value in (0, 1, 2),
            "valid": lambda value: type(value) in (int, bool) and value in (0, 1),
            "overlay_bytes": lambda value: isinstance(value, bytes) and value.startswith(PNG)}


class RestClient(Client):
    """Over HTTP and JSON; `address` as "http://host:8501" or "https://host". Every output is sent, wanted or not."""
    TLS = "https://"

    def __init__(self, address, model, version=None, timeout=10.0, **secrets):
        super().__init__(address, model, version, timeout, **secrets)
        if not address.startswith(("http://", self.TLS)):
            raise ValueError(f"address {address}: expected http://HOST:PORT")
        import requests

        self.address, self._requests, self._session = address.rstrip("/"), requests, requests.Session()
        # Always a file: with True an older `requests` verifies nothing where CURL_CA_BUNDLE is empty.
        self._authorities = (self.ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
                             or requests.certs.where())

    def predict(self, inputs, signature="serving_default", outputs=()):
        body = {"signature_name": signature, "inputs": {name: _json_tensor(v) for name, v in inputs.items()}}
        try:
            body = json.dumps(body, allow_nan=False).encode()
        except ValueError:
            raise ValueError("an input holds NaN or infinity, which JSON cannot say; gRPC sends them") from None
        found = self._decoded("predict", _json_outputs, self._call("predict", ":predict", "outputs", body))
        return self._chosen(found, outputs, signature)

    def status(self):
        return self._decoded("status", _json_status, self._call("status", "", "model_version_status"))

    def metadata(self):
        return self._decoded("metadata", _json_metadata, self._call("metadata", "/metadata", "metadata"))

    def close(self):
        self._session.close()

    def _call(self, what, ending, key, body=None):
        version = "" if self.version is None else f"/versions/{self.version}"
        url = f"{self.address}/v1/models/{urllib.parse.quote(self.model, safe='')}{version}{ending}"
        end = time.monotonic() + self.timeout
        try:
            with self._session.request("GET" if body is None else "POST", url, data=body, timeout=self.timeout,
                                       headers={"Content-Type": "application/json"}, stream=True,
                                       allow_redirects=False, verify=self._authorities,
                                       auth=self._sign if self.headers else None) as answer:
                text = self._body(what, answer, end)
        except (self._requests.RequestException, OSError, ValueError) as error:
            if isinstance(error, self._requests.Timeout) or time.monotonic() > end:
                raise self._late(what) from None
            reason = re.search(r"certificate verify failed[^()]*\b", str(error))
            raise self._failed(what, f"no connection ({reason[0] if reason else type(error).__name__})") from None
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict) and "error" in content:
            raise self._failed(what, f"HTTP {answer.status_code}: {content['error']}")
        if answer.status_code != 200 or not isinstance(content, dict) or key not in content:
            moved = f" (moved to {answer.headers['Location']})" if answer.is_redirect else ""
            raise self._failed(what, f"HTTP {answer.status_code}{moved}, and not an answer of TensorFlow Serving")
        return content[key]

    def _sign(self, request):
        """Last of all, as `requests` would put what it finds in a .netrc in the token's place."""
        request.headers.update(self.headers)
        return request

    def _body(self, what, answer, end):
        """The bytes of an answer, as far as they come in time and are not too many."""
        text = bytearray()
        for part in answer.iter_content(1 << 14):
            text += part
            if len(text) > LARGEST:
                raise self._failed(what, f"an answer of more than {LARGEST} bytes")
            if time.monotonic() > end:
                raise self._late(what)
        return bytes(text)

    def _late(self, what):
        return self._failed(what, f"no answer within {self.timeout:g} s")


class GrpcClient(Client):
    """Over gRPC; `address` as "host:8500", with TLS "grpcs://host:8500". Faster: tensors travel as they are."""
    TLS = "grpcs://"

    def __init__(self, address, model, version=None, timeout=10.0, **secrets):
        super().__init__(address, model, version, timeout, **secrets)
        if address.startswith(("http://", "https://", "grpc://")):
            raise ValueError(f"address {address}: expected HOST:PORT or {self.TLS}HOST:PORT")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it writes lines of its own beside the error
        import grpc

        sizes = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", -1)]
        self._grpc, self._metadata = grpc, [(name.lower(), value) for name, value in self.headers.items()]
        if not address.startswith(self.TLS):
            self._channel = grpc.insecure_channel(address, sizes)
        else:
            authorities = None if self.ca_file is None else _read(self.ca_file)
            credentials = grpc.ssl_channel_credentials(authorities)
            self._channel = grpc.secure_channel(address[len(self.TLS):], credentials, sizes)

    def predict(self, inputs, signature="serving_default", outputs=()):
        request = encode_predict_request(self.model, signature, inputs, self.version, outputs)
        answer = self._call("predict", "PredictionService/Predict", request)
        return self._chosen(self._decoded("predict", decode_predict_response, answer), outputs, signature)

    def status(self):
        request = message(1, _model_spec(self.model, "", self.version))
        return self._decoded("status", decode_status, self._call("status", "ModelService/GetModelStatus", request))

    def metadata(self):
        request = message(1, _model_spec(self.model, "", self.version)) + message(2, b"signature_def")
        answer = self._call("metadata", "PredictionService/GetModelMetadata", request)
        return self._decoded("metadata", decode_metadata, answer)

    def close(self):
        self._channel.close()

    def _call(self, what, method, request):
        try:
            call = self._channel.unary_unary(f"/tensorflow.serving.{method}")
            return call(request, timeout=self.timeout, metadata=self._metadata)
        except self._grpc.RpcError as error:
            if error.code() == self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise self._failed(what, f"no answer within {self.timeout:g} s") from None
            raise self._failed(what, f"{error.code().name}: {error.details()}") from None


class Drift:
    """Whether the latest scores still are as those of good parts were: a rolling window against them.

    A look every quarter of a window, from the first full one on, by the two-sample test of Kolmogorov and Smirnov. Each
    look may err with the chance `false_alarms` times the pictures since the last one; so of pictures that are as the
    good ones were, one in 1 / `false_alarms` at most is expected to raise an alarm, however many looks there are and
    however much they overlap. It is over when a look finds nothing at a level of 5 %.

    Args:
      good: scores of good pictures that the model was not trained on, in any order.
      window: of how many pictures.
      false_alarms: expected at most, of each picture.

    Attributes:
      drifted: what the last look found.

    Raises: ValueError for scores that are none, or too few for so rare an alarm.
    """

    def __init__(self, good, window=100, false_alarms=1e-6):
        self.good = sorted(float(score) for score in good)
        if not self.good or not all(math.isfinite(score) for score in self.good):
            raise ValueError("drift: expected the scores of good pictures, finite numbers")
        if window < 1 or not 0 < false_alarms < 1:
            raise ValueError(f"drift: window {window}, false alarms {false_alarms}; expected 1 or more, a share")
        self.every = -(-window // 4)
        self.level = min(0.05, false_alarms * self.every)
        if 2 / math.comb(len(self.good) + window, window) > self.level:
            raise ValueError(f"drift: {len(self.good)} good scores and a window of {window} are too few to find any")
        self.drifted, self.count, self._latest = False, 0, collections.deque(maxlen=window)

    def add(self, score):
        """Take a score; a dict to tell when drift begins or is over, else None."""
        self._latest.append(float(score))
        self.count += 1
        window = self._latest.maxlen
        if self.count < window or (self.count - window) % self.every:
            return None
        distance, chance = kolmogorov_smirnov(self.good, self._latest)
        before, self.drifted = self.drifted, chance <= (0.05 if self.drifted else self.level)
        if before == self.drifted:
            return None
        middle = [sorted(scores)[len(scores) // 2] for scores in (self._latest, self.good)]
        return {"drift": self.drifted, "pictures": self.count, "window": window, "distance": round(distance, 4),
                "chance": float(f"{chance:.3g}"), "median": middle[0], "median_good": middle[1],
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def kolmogorov_smirnov(one, other):
    """(largest distance of the two shares below a score, chance of that much or more where both are alike).

    The chance is exact for scores without ties, and too high with them: of all orders in which the two samples may
    come, those are counted whose distance stays below (Hodges 1958, The significance probability of the Smirnov
    two-sample test).
    """
    one, other = sorted(one), sorted(other)
    n, m = len(one), len(other)
    largest = max(abs(bisect.bisect(one, score) * m - bisect.bisect(other, score) * n) for score in one + other)
    row = [int(j * n < largest) for j in range(m + 1)]  # row[j]: orders of the first i of the one and j of the other
    for i in range(1, n + 1):
        before = 0
        for j in range(m + 1):
            before = row[j] = row[j] + before if abs(i * m - j * n) < largest else 0
    total = math.comb(n + m, n)
    return largest / (n * m), (total - row[m]) / total


def good_scores(path, inside=None):
    """The scores of good pictures in an export's manifest.json. `inside`: as a region of interest cuts them, or not.

    None for `inside`: as the version judges pictures by itself. Raises: ValueError for a file that has none.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            told = json.load(stream)
        if inside is None:
            station = told.get("station") or {}  # a region that moves, or tiles, are not in the graph
            inside = station.get("roi") is not None and not station.get("follow") and not station.get("tiles")
        thresholds = told["thresholds"]
        return thresholds["image_roi" if inside and "image_roi" in thresholds else "image"]["good_scores"]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{path}: no manifest with the scores of good pictures; export again") from None


# Protocol buffers: a message is a row of fields, each a key (number * 8 + wire type) and its value.


def message(number, payload):
    """A field of wire type 2: an inner message, a string or packed numbers."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def encode_tensor(value):
    """The bytes of a tensorflow.TensorProto. `value` as in `Client.predict`."""
    dtype, shape, content = _tensor(value)
    dimensions = b"".join(message(2, b"\x08" + _varint(size)) for size in shape)
    head = b"\x08" + _varint(dtype) + message(2, dimensions)
    return head + (b"".join(message(8, text) for text in content) if dtype == STRING else message(4, content))


def encode_predict_request(model, signature, inputs, version=None, outputs=()):
    """The bytes of a tensorflow.serving.PredictRequest; arguments as of `Client`."""
    entries = (message(1, name.encode()) + message(2, encode_tensor(value)) for name, value in inputs.items())
    return (message(1, _model_spec(model, signature, version)) + b"".join(message(2, entry) for entry in entries)
            + b"".join(message(3, name.encode()) for name in outputs))


@reading
def decode_tensor(data):
    """Nested lists of a tensorflow.TensorProto; its strings as bytes."""
    dtype, shape, content, values = 0, [], b"", []
    for number, wire, value in _fields(data):
        if number == 1:
            dtype = _whole(value)
        elif number == 2:
            shape = _dimensions(value)
        elif number == 4:
            content = _bytes(value)
        elif number == 8:
            values.append(_bytes(value))
        elif number in (5, 6):  # float_val, double_val
            values += memoryview(_bytes(value)).cast("f" if number == 5 else "d").tolist()
        elif number in (7, 10, 11, 16, 17):  # int_val, int64_val, bool_val, uint32_val, uint64_val
            values += _varints(_bytes(value)) if wire == 2 else [_whole(value)]
    if dtype not in DTYPES:
        raise ServingError(f"an output has data type {dtype}, which this client does not read")
    size = _judged(shape, len(data))
    if content:
        values = memoryview(content).cast(FORMATS[dtype]).tolist()
        if len(values) != size:
            raise ValueError(f"{len(values)} values in a tensor of {size}")
    elif dtype == 10:
        values = [bool(value) for value in values]
    elif dtype in (3, 5, 6, 9):  # a negative number is sent as its 64-bit complement
        values = [value - (1 << 64) if value >> 63 else value for value in values]
    if len(values) > size:
        raise ValueError(f"{len(values)} values in a tensor of {size}")
    # A row of equal values may be cut short after the first of them.
    values += [values[-1] if values else b"" if dtype == STRING else 0] * (size - len(values))
    kind = bytes if dtype == STRING else (int, float)
    if not all(isinstance(value, kind) for value in values):
        raise ValueError("values of another type than the tensor's")
    for size in reversed(shape[1:]):
        values = [values[i:i + size] for i in range(0, len(values), max(size, 1))]
    return values if shape else values[0]


@reading
def decode_predict_response(data):
    """{output name: nested lists} of a tensorflow.serving.PredictResponse."""
    return {name: decode_tensor(value) for name, value in _map(data, 1).items()}


@reading
def decode_status(data):
    """{version: state} of a tensorflow.serving.GetModelStatusResponse."""
    entries = [{n: value for n, _, value in _fields(entry)} for n, _, entry in _fields(data) if n == 1]
    return {_whole(entry.get(1, 0)): STATES.get(_whole(entry.get(2, 0)), "UNKNOWN") for entry in entries}


@reading
def decode_metadata(data):
    """What `Client.metadata` returns, of a tensorflow.serving.GetModelMetadataResponse."""
    any_message = {n: value for n, _, value in _fields(_map(data, 2)["signature_def"])}
    found = {}
    for name, signature in _map(any_message[2], 1).items():
        found[name] = {}
        for number, side in ((1, "inputs"), (2, "outputs")):
            infos = {key: {n: value for n, _, value in _fields(info)} for key, info in _map(signature, number).items()}
            found[name][side] = {key: (DTYPES.get(_whole(info.get(2, 0)), "DT_INVALID"), _dimensions(info.get(3, b"")))
                                 for key, info in infos.items()}
    return found


def _judged(shape, received):
    """How many values a shape holds. ValueError for one that a message of `received` bytes cannot mean."""
    if len(shape) > RANK or any(size < 0 for size in shape):
        raise ValueError(f"a shape of {len(shape)} dimensions" if len(shape) > RANK else f"a shape of {shape}")
    cells = size = 1
    for length in shape:
        size *= length
        cells += size
    if cells > max(CELLS, RANK * received):
        raise ValueError(f"a shape of {shape} in a message of {received} bytes")
    return size


@reading
def _json_outputs(answer):
    """{output name: nested lists} of what TensorFlow Serving names "outputs"."""
    return {name: _from_json(value)[0] for name, value in answer.items()}


@reading
def _json_status(answer):
    return {int(entry["version"]): _string(entry["state"]) for entry in answer}


@reading
def _json_metadata(answer):
    return {name: {side: {key: (_string(info["dtype"]),
                                [int(dim["size"]) for dim in info["tensor_shape"].get("dim", ())])
                          for key, info in signature.get(side, {}).items()} for side in ("inputs", "outputs")}
            for name, signature in answer["signature_def"]["signature_def"].items()}


def _model_spec(model, signature, version):
    chosen = b"" if version is None else message(2, b"\x08" + _varint(version))
    return message(1, model.encode()) + chosen + (message(3, signature.encode()) if signature else b"")


def _tensor(value):
    """(data type, shape, bytes; or for strings their list) of an input."""
    if isinstance(value, (list, tuple)) and all(isinstance(text, bytes) for text in value):
        return STRING, (len(value),), value
    try:
        if isinstance(value, (bytes, bytearray)):  # of one file: would be sent as a row of numbers
            raise TypeError
        view = memoryview(value)
    except TypeError:
        raise TypeError("an input must be a list of bytes, or an array such as NumPy's (for numbers)") from None
    code = view.format
    if code in ("l", "L"):  # NumPy's name of 64 bit on Linux, of 32 bit on Windows
        code = {("l", 8): "q", ("L", 8): "Q", ("l", 4): "i", ("L", 4): "I"}[code, view.itemsize]
    for dtype, ours in FORMATS.items():
        if code == ours:
            return dtype, view.shape, view.tobytes()
    raise TypeError(f"an input array of format '{code}' cannot be sent; convert it to float32 or uint8")


def _json_tensor(value):
    dtype, _, content = _tensor(value)
    return [{"b64": base64.b64encode(text).decode()} for text in content] if dtype == STRING else _listed(value)


def _listed(value):
    return value.tolist() if hasattr(value, "tolist") else memoryview(value).tolist()


def _from_json(value):
    """(value with strings as bytes, its shape) of a number, a string or nested lists of them, all of one length."""
    if isinstance(value, list):
        if set(map(type, value)) <= {int, float, bool}:
            return value, (len(value),)
        rows = [_from_json(entry) for entry in value]
        if any(shape != rows[0][1] for _, shape in rows):
            raise ValueError("lists of different lengths in one output")
        return [row for row, _ in rows], (len(rows), *rows[0][1])
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True), ()
    if not isinstance(value, (int, float, str)):
        raise TypeError(f"{value!r:.20} where a value is expected")
    return (value.encode() if isinstance(value, str) else value), ()


def _string(value):
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.20} where a text is expected")
    return value


def _varint(value):
    """Seven bits a byte, the low ones first; the high bit says that more follow."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def _varints(data):
    """The whole numbers, of 64 bits at most, that are packed into `data`."""
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value & (1 << 64) - 1)
            value = shift = 0
        elif shift > 63:
            raise ValueError("a number of more than 64 bits")
    if shift:
        raise ValueError("a number that does not end")
    return values


def _fields(data):
    """(number, wire type, value) of a message: an int, or the bytes of what is not a varint."""
    data, at = memoryview(_bytes(data)), 0

    def varint():
        nonlocal at
        start = at
        while data[at] > 127:  # IndexError at the end
            at += 1
        at += 1
        return _varints(data[start:at])[0]

    while at < len(data):
        key = varint()
        wire, value = key & 7, None
        if wire == 0:
            value = varint()
        else:
            size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
            if size > len(data) - at:
                raise ValueError("a message that ends too early")
            value, at = data[at:at + size], at + size
        yield key >> 3, wire, value


def _bytes(value):
    """Not `bytes(value)`: of a number it makes that many zeros."""
    if isinstance(value, int):
        raise TypeError("a number where bytes are expected")
    return bytes(value)


def _whole(value):
    if not isinstance(value, int):
        raise TypeError("bytes where a number is expected")
    return value


def _map(data, number):
    """{key: bytes of the value} of a map from strings to messages."""
    entries = ({n: value for n, _, value in _fields(entry)} for n, _, entry in _fields(data) if n == number)
    return {_bytes(entry.get(1, b"")).decode(): _bytes(entry.get(2, b"")) for entry in entries}


def _dimensions(shape):
    """Sizes of a TensorShapeProto, -1 where unknown."""
    sizes = [_whole({n: value for n, _, value in _fields(dim)}.get(1, 0)) for n, _, dim in _fields(shape) if n == 2]
    return [size - (1 << 64) if size >> 63 else size for size in sizes]


def main(argv=None) -> int:
    """Exit status: 1 where a file is no picture to a server, 2 after an error, 141 where nobody reads on (`|head`)."""
    try:
        try:
            return _run(argv)
        finally:
            print(end="", flush=True)  # here, where it can be answered, not when Python ends
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13


def _run(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--rest", metavar="URL", help="address of the REST server, as http://localhost:8501 or https://...")
    where.add_argument("--grpc", metavar="HOST:PORT", help="address of the gRPC server, as localhost:8500; with TLS "
                       "grpcs://HOST:PORT")
    parser.add_argument("--ca-file", metavar="FILE", help="PEM file of the authority that signed the server's "
                        "certificate (default: those that the system knows; a certificate is always verified)")
    parser.add_argument("--token-file", metavar="FILE", help="file that holds the token to send (default: that in the "
                        "environment variable GRDNET_TOKEN, if any)")
    parser.add_argument("--token-header", metavar="NAME", default="Authorization",
                        help="header that carries the token (default: Authorization, as Bearer TOKEN)")
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the served model")
    parser.add_argument("--version", type=int, metavar="N", help="version (default: the newest that is served)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds a call (default: 10)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pictures a call (default: 8)")
    parser.add_argument("--roi", metavar="FILE", help="region of interest, one PNG for all pictures")
    parser.add_argument("--overlay", metavar="DIR", help="write the pictures under their anomaly map to this folder")
    parser.add_argument("--drift", metavar="MANIFEST", help="manifest.json of the version: compare the scores with "
                        "those of its good pictures, in a rolling window")
    parser.add_argument("--window", type=int, default=100, metavar="N", help="pictures of the window (default: 100)")
    parser.add_argument("files", nargs="+", metavar="PICTURE")
    arguments = parser.parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # a file's name may have letters that the terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    if arguments.roi and arguments.overlay:
        parser.error("--roi and --overlay do not go together")
    if arguments.batch < 1:
        parser.error("--batch must be 1 or more")
    invalid, drift = 0, None
    try:
        if arguments.drift:
            drift = Drift(good_scores(arguments.drift, True if arguments.roi else None), arguments.window)
        if arguments.overlay:
            overlay_names(arguments.files)
        kind, address = (RestClient, arguments.rest) if arguments.rest else (GrpcClient, arguments.grpc)
        client = kind(address, arguments.model, arguments.version, arguments.timeout, ca_file=arguments.ca_file,
                      token=_token(arguments.token_file), token_header=arguments.token_header)
        for start in range(0, len(arguments.files), arguments.batch):
            invalid += _report(client, arguments.files[start:start + arguments.batch], arguments.roi, arguments.overlay,
                               drift)
    except ImportError as error:
        print(f"error: {error}; install requests for --rest, grpcio for --grpc", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (ServingError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if drift and drift.drifted:
        return 4
    return 1 if invalid else 0


def _token(file):
    """The token in `file`, or in the environment, or None. Not from the command line, which every user can list."""
    if file is None:
        return os.environ.get("GRDNET_TOKEN") or None
    return _read(file).decode("ascii", "replace").strip()


def overlay_names(files):
    """Names of the overlays of `files`. FileExistsError for two files of one name: one would overwrite the other's."""
    names = {}
    for file in files:
        name = os.path.basename(file) + "_map.png"
        if len(os.fsencode(name)) > 255:  # more than file systems take: shortened, with a digest of the whole
            name = f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}_map.png"
        if name in names:
            raise FileExistsError(f"{names[name]} and {file}: both overlays would be {name}; ask for one at a time")
        names[name] = file
    return list(names)


def _report(client, files, roi, overlay, drift=None):
    """Print a line a file, and one in JSON where drift begins or ends; how many are no picture to the server."""
    regions = [_read(roi)] * len(files) if roi else None
    found = client.inspect([_read(file) for file in files], regions, bool(overlay))
    overlays = overlay_names(files) if overlay else ()
    for i, file in enumerate(files):
        decision = DECISIONS[found["verdict"][i]] if found["valid"][i] else "INVALID"
        print(f"{found['score'][i]:.6f} {decision:10} {file}")
        if overlay:
            os.makedirs(overlay, exist_ok=True)
            with open(os.path.join(overlay, overlays[i]), "wb") as stream:
                stream.write(found["overlay_bytes"][i])
        told = drift.add(found["score"][i]) if drift and found["valid"][i] else None
        if told:
            print(json.dumps(told))
    return found["valid"].count(0)


def _read(file):
    with open(file, "rb") as stream:
        return stream.read()


if __name__ == "__main__":
    sys.exit(main())
