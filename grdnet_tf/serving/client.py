#!/usr/bin/env python
"""Client of a TensorFlow Serving server that serves an export of grdnet_tf: REST or gRPC, files or tensors.

    python client.py --rest http://localhost:8501 --model vials part.png other.jpg
    python client.py --grpc localhost:8500 --model vials --overlay pictures part.png

One file to copy: it needs the standard library and `requests` for REST or `grpcio` for gRPC, nothing else.

    client = RestClient("http://localhost:8501", "vials")        # or GrpcClient("localhost:8500", "vials")
    found = client.inspect([open("part.png", "rb").read()])      # PNG, JPEG, BMP of any size
    found["score"], found["is_anomalous"], found["valid"]        # lists, one entry a picture

    client.predict({"images": array}, "score")                   # a NumPy array (N, H, W, C) float32 in [0, 1]

The messages of gRPC are encoded here, field by field, after the public .proto files of TensorFlow and TensorFlow
Serving: their generated classes would bring a whole TensorFlow with them.
"""
import abc
import argparse
import base64
import math
import os
import sys

BRIEF = ("score", "is_anomalous", "valid")  # without the map, which is most of an answer
DTYPES = {1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 4: "DT_UINT8", 5: "DT_INT16", 6: "DT_INT8", 7: "DT_STRING",
          9: "DT_INT64", 10: "DT_BOOL", 17: "DT_UINT16", 22: "DT_UINT32", 23: "DT_UINT64"}
# The same as a memoryview names them.
FORMATS = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", 22: "I", 23: "Q"}
STRING = 7
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class ServingError(RuntimeError):
    """The server is not there, does not answer in time, or refuses; one line that says which and why."""


class Client(abc.ABC):
    """What both ways have in common. `version` None is the newest one that is served; `timeout` in seconds a call."""

    def __init__(self, address, model, version=None, timeout=10.0):
        self.address, self.model, self.version, self.timeout = address, model, version, timeout

    def inspect(self, pictures, regions=None, overlay=False):
        """{"score", "is_anomalous", "valid"} of `pictures`, a list of the bytes of PNG, JPEG or BMP files.

        `regions`: the bytes of one PNG a picture, in which a pixel above 0 counts. `overlay`: also "overlay_bytes", PNG
        pictures under their anomaly map. A file that cannot be decoded has valid 0 and is_anomalous 1.
        """
        if regions is not None and overlay:
            raise ValueError("an overlay with a region is not served; ask for one of them")
        if regions is not None:
            inputs, signature = {"image_bytes": list(pictures), "roi_bytes": list(regions)}, "serve_bytes_roi"
        else:
            inputs, signature = {"image_bytes": list(pictures)}, "serve_bytes_map" if overlay else "serve_bytes"
        return self.predict(inputs, signature, BRIEF + (("overlay_bytes",) if overlay else ()))

    @abc.abstractmethod
    def predict(self, inputs, signature="serving_default", outputs=()):
        """{output name: nested lists, the batch first; strings as bytes}; `outputs` names those wanted, () is all.

        `inputs`: {name: NumPy array, or anything else with the buffer protocol; or a list of bytes}.
        Raises: ServingError; TypeError for an input of another kind.
        """

    @abc.abstractmethod
    def status(self):
        """{version: "AVAILABLE", "LOADING" ...} of the model. Raises: ServingError."""

    @abc.abstractmethod
    def metadata(self):
        """{signature: {"inputs": {name: ("DT_FLOAT", [-1, 256, 256, 3])}, "outputs": ...}}. Raises: ServingError."""

    def _failed(self, what, why):
        return ServingError(f"{self.address}: {what} of model {self.model}: {' '.join(str(why).split())}")


class RestClient(Client):
    """Over HTTP and JSON; `address` as "http://host:8501". The server sends every output, wanted or not."""

    def __init__(self, address, model, version=None, timeout=10.0):
        super().__init__(address.rstrip("/"), model, version, timeout)
        import requests

        self._requests, self._session = requests, requests.Session()

    def predict(self, inputs, signature="serving_default", outputs=()):
        body = {"signature_name": signature, "inputs": {name: _json_tensor(v) for name, v in inputs.items()}}
        answer = self._call("predict", ":predict", "outputs", body)
        if not isinstance(answer, dict) or not set(outputs) <= set(answer):
            raise self._failed("predict", f"signature {signature} has not all of the outputs {', '.join(outputs)}")
        return {name: _from_json(answer[name]) for name in outputs or answer}

    def status(self):
        entries = self._call("status", "", "model_version_status")
        return {int(entry["version"]): entry["state"] for entry in entries}

    def metadata(self):
        signatures = self._call("metadata", "/metadata", "metadata")["signature_def"]["signature_def"]
        return {name: {side: {key: (info["dtype"], [int(dim["size"]) for dim in info["tensor_shape"].get("dim", ())])
                              for key, info in signature.get(side, {}).items()} for side in ("inputs", "outputs")}
                for name, signature in signatures.items()}

    def close(self):
        self._session.close()

    def _call(self, what, ending, key, body=None):
        version = "" if self.version is None else f"/versions/{self.version}"
        url = f"{self.address}/v1/models/{self.model}{version}{ending}"
        try:
            answer = self._session.request("GET" if body is None else "POST", url, json=body, timeout=self.timeout)
        except self._requests.Timeout:
            raise self._failed(what, f"no answer within {self.timeout:g} s") from None
        except self._requests.RequestException as error:
            raise self._failed(what, f"no connection ({type(error).__name__})") from None
        try:
            content = answer.json()
        except ValueError:
            content = None
        if isinstance(content, dict) and "error" in content:
            raise self._failed(what, f"HTTP {answer.status_code}: {content['error']}")
        if answer.status_code != 200 or not isinstance(content, dict) or key not in content:
            raise self._failed(what, f"HTTP {answer.status_code}, and not an answer of TensorFlow Serving")
        return content[key]


class GrpcClient(Client):
    """Over gRPC; `address` as "host:8500". Faster than REST with tensors and maps, which travel as they are."""

    def __init__(self, address, model, version=None, timeout=10.0):
        super().__init__(address, model, version, timeout)
        import grpc

        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._grpc, self._channel = grpc, grpc.insecure_channel(address, unlimited)

    def predict(self, inputs, signature="serving_default", outputs=()):
        request = encode_predict_request(self.model, signature, inputs, self.version, outputs)
        return decode_predict_response(self._call("predict", "PredictionService/Predict", request))

    def status(self):
        request = message(1, _model_spec(self.model, "", self.version))
        return decode_status(self._call("status", "ModelService/GetModelStatus", request))

    def metadata(self):
        request = message(1, _model_spec(self.model, "", self.version)) + message(2, b"signature_def")
        return decode_metadata(self._call("metadata", "PredictionService/GetModelMetadata", request))

    def close(self):
        self._channel.close()

    def _call(self, what, method, request):
        try:
            return self._channel.unary_unary(f"/tensorflow.serving.{method}")(request, timeout=self.timeout)
        except self._grpc.RpcError as error:
            if error.code() == self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise self._failed(what, f"no answer within {self.timeout:g} s") from None
            raise self._failed(what, f"{error.code().name}: {error.details()}") from None


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


def decode_tensor(data):
    """Nested lists of a tensorflow.TensorProto; its strings as bytes."""
    dtype, shape, content, values = 0, [], None, []
    for number, wire, value in _fields(data):
        if number == 1:
            dtype = value
        elif number == 2:
            shape = _dimensions(value)
        elif number == 4:
            content = value
        elif number == 8:
            values.append(bytes(value))
        elif number in (5, 6):  # float_val, double_val
            values += memoryview(bytes(value)).cast("f" if number == 5 else "d").tolist()
        elif number in (7, 10, 11, 16, 17):  # int_val, int64_val, bool_val, uint32_val, uint64_val
            values += list(_varints(value)) if wire == 2 else [value]
    if dtype not in DTYPES:
        raise ServingError(f"an output has data type {dtype}, which this client does not read")
    if content:
        values = memoryview(bytes(content)).cast(FORMATS[dtype]).tolist()
    elif dtype == 10:
        values = [bool(value) for value in values]
    elif dtype in (3, 5, 6, 9):  # a negative number is sent as its 64-bit complement
        values = [value - (1 << 64) if value >> 63 else value for value in values]
    missing = math.prod(shape) - len(values)  # a row of equal values may be cut short after the first of them
    values += [values[-1] if values else b"" if dtype == STRING else 0] * missing
    for size in reversed(shape[1:]):
        values = [values[i:i + size] for i in range(0, len(values), max(size, 1))]
    return values if shape else values[0]


def decode_predict_response(data):
    """{output name: nested lists} of a tensorflow.serving.PredictResponse."""
    return {name: decode_tensor(value) for name, value in _map(data, 1).items()}


def decode_status(data):
    """{version: state} of a tensorflow.serving.GetModelStatusResponse."""
    entries = [{n: value for n, _, value in _fields(entry)} for n, _, entry in _fields(data) if n == 1]
    return {entry.get(1, 0): STATES.get(entry.get(2, 0), "UNKNOWN") for entry in entries}


def decode_metadata(data):
    """What `Client.metadata` returns, of a tensorflow.serving.GetModelMetadataResponse."""
    any_message = {n: value for n, _, value in _fields(_map(data, 2)["signature_def"])}
    found = {}
    for name, signature in _map(any_message[2], 1).items():
        found[name] = {}
        for number, side in ((1, "inputs"), (2, "outputs")):
            infos = {key: {n: value for n, _, value in _fields(info)} for key, info in _map(signature, number).items()}
            found[name][side] = {key: (DTYPES.get(info.get(2, 0), "DT_INVALID"), _dimensions(info.get(3, b"")))
                                 for key, info in infos.items()}
    return found


def _model_spec(model, signature, version):
    chosen = b"" if version is None else message(2, b"\x08" + _varint(version))
    return message(1, model.encode()) + chosen + (message(3, signature.encode()) if signature else b"")


def _tensor(value):
    """(data type, shape, bytes; or for strings their list) of an input."""
    if isinstance(value, (list, tuple)):
        if not all(isinstance(text, bytes) for text in value):
            raise TypeError("an input must be a list of bytes, or an array such as NumPy's (for numbers)")
        return STRING, (len(value),), value
    view = memoryview(value)  # TypeError for what is no array
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
    if isinstance(value, list):
        return [_from_json(entry) for entry in value] if value and isinstance(value[0], (list, dict)) else value
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _varint(value):
    """Seven bits a byte, the low ones first; the high bit says that more follow."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def _varints(data):
    value = shift = 0
    for byte in bytes(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


def _fields(data):
    """(number, wire type, value) of a message: an int, or the bytes of what is not a varint."""
    data, at = memoryview(data), 0

    def varint():
        nonlocal at
        start = at
        while data[at] > 127:
            at += 1
        at += 1
        return next(_varints(data[start:at]))

    while at < len(data):
        key = varint()
        wire, value = key & 7, None
        if wire == 0:
            value = varint()
        else:
            size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
            value, at = data[at:at + size], at + size
        yield key >> 3, wire, value


def _map(data, number):
    """{key: bytes of the value} of a map from strings to messages."""
    entries = ({n: value for n, _, value in _fields(entry)} for n, _, entry in _fields(data) if n == number)
    return {bytes(entry.get(1, b"")).decode(): entry.get(2, b"") for entry in entries}


def _dimensions(shape):
    """Sizes of a TensorShapeProto, -1 where unknown."""
    sizes = [{n: value for n, _, value in _fields(dim)}.get(1, 0) for n, _, dim in _fields(shape) if n == 2]
    return [size - (1 << 64) if size >> 63 else size for size in sizes]


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--rest", metavar="URL", help="address of the REST server, as http://localhost:8501")
    where.add_argument("--grpc", metavar="HOST:PORT", help="address of the gRPC server, as localhost:8500")
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the served model")
    parser.add_argument("--version", type=int, metavar="N", help="version (default: the newest that is served)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds a call (default: 10)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pictures a call (default: 8)")
    parser.add_argument("--roi", metavar="FILE", help="region of interest, one PNG for all pictures")
    parser.add_argument("--overlay", metavar="DIR", help="write the pictures under their anomaly map to this folder")
    parser.add_argument("files", nargs="+", metavar="PICTURE")
    arguments = parser.parse_args(argv)
    if arguments.roi and arguments.overlay:
        parser.error("--roi and --overlay do not go together")
    if arguments.batch < 1 or arguments.timeout <= 0:
        parser.error("--batch must be 1 or more, --timeout more than 0")
    try:
        if arguments.overlay:
            overlay_names(arguments.files)
        kind, address = (RestClient, arguments.rest) if arguments.rest else (GrpcClient, arguments.grpc)
        client = kind(address, arguments.model, arguments.version, arguments.timeout)
        for start in range(0, len(arguments.files), arguments.batch):
            _report(client, arguments.files[start:start + arguments.batch], arguments.roi, arguments.overlay)
    except ImportError as error:
        print(f"error: {error}; install requests for --rest, grpcio for --grpc", file=sys.stderr)
        return 2
    except (ServingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def overlay_names(files):
    """Names of the overlays of `files`. FileExistsError for two files of one name: one would overwrite the other's."""
    names = {}
    for file in files:
        name = os.path.basename(file) + "_map.png"
        if name in names:
            raise FileExistsError(f"{names[name]} and {file}: both overlays would be {name}; ask for one at a time")
        names[name] = file
    return list(names)


def _report(client, files, roi, overlay):
    regions = [_read(roi)] * len(files) if roi else None
    found = client.inspect([_read(file) for file in files], regions, bool(overlay))
    overlays = overlay_names(files) if overlay else ()
    for i, file in enumerate(files):
        decision = ("DEFECT" if found["is_anomalous"][i] else "good") if found["valid"][i] else "UNREADABLE"
        print(f"{found['score'][i]:.6f} {decision:10} {file}")
        if overlay:
            os.makedirs(overlay, exist_ok=True)
            with open(os.path.join(overlay, overlays[i]), "wb") as stream:
                stream.write(found["overlay_bytes"][i])


def _read(file):
    with open(file, "rb") as stream:
        return stream.read()


if __name__ == "__main__":
    sys.exit(main())
