"""What other servers want around a version: DIR/layouts/<server>/, from what DIR/<name>/<version> holds. No TensorFlow.

    kserve     <name>.yaml, an InferenceService of the TensorFlow runtime; as user 1000
    sagemaker  model.tar.gz for the TensorFlow container, with code/inference.py: a picture file in, JSON out
    vertex     upload.sh and request.json for a prebuilt TensorFlow container
    triton     a model repository with model.onnx and config.pbtxt (needs --format onnx)
    openvino   a model repository with model.onnx and config.json for OpenVINO Model Server (needs --format onnx)

Each is written anew with every export, for its version.
"""
import base64
import gzip
import json
import os
import re
import shutil
from typing import Sequence

import yaml

from ..errors import InputError
from ..storage import aside, make_folder, make_readable, writing
from . import bundle, publish
from .names import ONNX
from .server_files import BATCH

FOLDER = "layouts"


def check(names: Sequence[str], formats: Sequence[str], default: str) -> None:
    """InputError where a layout is unknown, or does not go with the other flags of the export."""
    for name in names:
        if name not in WRITERS:
            raise InputError(f"--layout {name}: expected some of {', '.join(WRITERS)}")
        if name in ("triton", "openvino") and "onnx" not in formats:
            raise InputError(f"--layout {name} needs --format onnx")
        if name == "vertex" and default != "serve_bytes":
            raise InputError("--layout vertex needs --default-signature serve_bytes: Vertex AI calls no other by name")


def write(names: Sequence[str], out: str, version: str) -> list:
    """Write the layouts `names` of `version`, a folder OUT/<name>/<version>; their folders. InputError."""
    manifest, home, written = publish.verify(version), os.path.join(out, FOLDER), []
    model = os.path.basename(os.path.dirname(os.path.abspath(version)))
    for name in names:
        target = os.path.join(home, name)
        with writing(target):
            make_folder(target)
            with aside(home) as fresh:
                WRITERS[name](fresh, version, model, manifest)
                make_readable(fresh)
                for entry in sorted(os.listdir(fresh)):  # each whole; other models' stay
                    _replace(os.path.join(fresh, entry), os.path.join(target, entry))
        written.append(target)
    return written


def _replace(source, target):
    if os.path.isdir(target):
        shutil.rmtree(target)
    os.replace(source, target)


def _put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def _kserve(folder, version, model, manifest):
    name = re.sub(r"[^a-z0-9-]+", "-", model.lower()).strip("-")[:63] or "grdnet"
    service = {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": name},
        "spec": {"predictor": {
            "securityContext": {"runAsUser": 1000, "runAsNonRoot": True},
            "model": {"modelFormat": {"name": "tensorflow"}, "protocolVersion": "v1",
                      "runtimeVersion": _tensorflow(manifest), "storageUri": f"pvc://models/{model}",
                      "args": ["--enable_batching=true"],
                      "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}}}}}
    _put(os.path.join(folder, f"{name}.yaml"), (
        f"# storageUri is the folder {model} of the exports, that with the version's number in it: on a volume claim\n"
        "# (pvc://CLAIM/PATH), or a bucket (s3://, gs://). Then: kubectl apply -f this file.\n"
        + yaml.safe_dump(service, sort_keys=False)))


def _sagemaker(folder, version, model, manifest):
    number = os.path.basename(os.path.abspath(version))
    entries = {f"{model}/{number}/{name}": os.path.join(version, name)
               for name in (*publish.files(version), publish.MANIFEST) if name != ONNX}
    entries["code/inference.py"] = INFERENCE.encode()
    with open(os.path.join(folder, f"{model}.tar.gz"), "wb") as stream:
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            bundle.pack(packed, sorted(entries.items()))


def _vertex(folder, version, model, manifest):
    number = os.path.basename(os.path.abspath(version))
    blank = base64.b64encode(_png(*manifest["image_size"])).decode()
    request = {"instances": [{"image_bytes": {"b64": blank}}]}
    _put(os.path.join(folder, model, "request.json"), json.dumps(request) + "\n")
    _put(os.path.join(folder, model, "upload.sh"), VERTEX.format(model=model, version=number,
                                                               tensorflow=_tensorflow(manifest)))


def _triton(folder, version, model, manifest):
    height, width = manifest["image_size"]
    home = os.path.join(folder, model)
    os.makedirs(os.path.join(home, "1"))
    shutil.copyfile(os.path.join(version, *ONNX.split("/")), os.path.join(home, "1", "model.onnx"))
    _put(os.path.join(home, "config.pbtxt"), TRITON.format(model=model, batch=BATCH, height=height, width=width,
                                                         channels=manifest["channels"]))


def _openvino(folder, version, model, manifest):
    number = os.path.basename(os.path.abspath(version))
    os.makedirs(os.path.join(folder, model, number))
    shutil.copyfile(os.path.join(version, *ONNX.split("/")), os.path.join(folder, model, number, "model.onnx"))
    served = {"model_config_list": [{"config": {"name": model, "base_path": f"/models/{model}"}}]}
    _put(os.path.join(folder, f"{model}.json"), json.dumps(served, indent=2) + "\n")


def _tensorflow(manifest):
    return manifest.get("environment", {}).get("packages", {}).get("tensorflow", "latest")


def _png(height, width):
    import cv2
    import numpy as np

    return cv2.imencode(".png", np.full((height, width), 128, np.uint8))[1].tobytes()


WRITERS = {"kserve": _kserve, "sagemaker": _sagemaker, "vertex": _vertex, "triton": _triton, "openvino": _openvino}

INFERENCE = '''"""A picture file in, what the model says of it out; run by the container beside TensorFlow Serving.

Content type application/x-image (the bytes of one PNG, JPEG or BMP), or application/json as TensorFlow Serving takes it.
Batch transform: the same, a file a request (split type none).
"""
import base64
import json

SIGNATURE = "serve_regions"  # score, is_anomalous, verdict, valid, regions: small answers


def input_handler(data, context):
    kind = context.request_content_type
    if kind == "application/json":
        return data.read().decode("utf-8")
    if kind in ("application/x-image", "image/png", "image/jpeg", "image/bmp", "application/octet-stream"):
        coded = base64.b64encode(data.read()).decode("ascii")
        return json.dumps({"signature_name": SIGNATURE, "instances": [{"image_bytes": {"b64": coded}}]})
    raise ValueError("content type %s: expected application/x-image or application/json" % kind)


def output_handler(response, context):
    if response.status_code != 200:
        raise ValueError(response.content.decode("utf-8"))
    return response.content, context.accept_header
'''

VERTEX = """\
#!/usr/bin/env bash
# Uploads {model}, version {version}, and makes an endpoint. Set these first:
#   REGION, BUCKET (gs://..., with a copy of the folder {model}/{version} in it), and
#   IMAGE: the prebuilt prediction container of TensorFlow {tensorflow} or newer, of Vertex AI's list.
set -euo pipefail
: "${{REGION:?}}" "${{BUCKET:?}}" "${{IMAGE:?}}"
gcloud ai models upload --region="$REGION" --display-name={model}-{version} \\
  --container-image-uri="$IMAGE" --artifact-uri="$BUCKET/{model}/{version}"
gcloud ai endpoints create --region="$REGION" --display-name={model}
echo "then: gcloud ai endpoints deploy-model ENDPOINT --region=$REGION --model=MODEL --display-name={model}"
echo "and:  gcloud ai endpoints predict ENDPOINT --region=$REGION --json-request=request.json"
"""

TRITON = """\
name: "{model}"
platform: "onnxruntime_onnx"
max_batch_size: {batch}
input [ {{ name: "images" data_type: TYPE_FP32 dims: [ {height}, {width}, {channels} ] }} ]
output [
  {{ name: "score" data_type: TYPE_FP32 dims: [ 1 ] reshape {{ shape: [ ] }} }},
  {{ name: "is_anomalous" data_type: TYPE_INT32 dims: [ 1 ] reshape {{ shape: [ ] }} }},
  {{ name: "verdict" data_type: TYPE_INT32 dims: [ 1 ] reshape {{ shape: [ ] }} }},
  {{ name: "anomaly_map" data_type: TYPE_FP32 dims: [ {height}, {width}, 1 ] }}
]
dynamic_batching {{ max_queue_delay_microseconds: 1000 }}
"""
