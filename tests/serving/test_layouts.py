"""What other servers are given: the files they look for, whole, and nothing of another model's lost."""
import base64
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from grdnet_tf.errors import InputError
from grdnet_tf.serving import layouts, publish

TOLD = {"image_size": [24, 32], "channels": 3, "environment": {"packages": {"tensorflow": "2.15.1"}}}


@pytest.fixture
def version(tmp_path):
    """DIR/Vial_7.b/4, of no network: what is around it does not ask for one."""
    def write(folder):
        for name in ("variables/data", "onnx/model.onnx", "saved_model.pb"):
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(name.encode())
        return TOLD

    folder, = publish.publish(4, {str(tmp_path / "out" / "Vial_7.b"): write})
    return folder


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can ask as another user")
def test_another_user_can_read_all_layouts_whatever_the_umask(version):
    """As KServe's server does, user 1000. A copy, with its modes, where the way to it is open."""
    out, usual = os.path.dirname(os.path.dirname(version)), os.umask(0o077)
    try:
        layouts.write(list(layouts.WRITERS), out, version)
    finally:
        os.umask(usual)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(os.path.join(out, layouts.FOLDER), os.path.join(folder, "layouts"))
        read = subprocess.run(["find", "layouts", "-type", "f", "-exec", "cat", "{}", "+"], user=1000, group=1000,
                              extra_groups=[], cwd=folder, capture_output=True)
        assert read.returncode == 0 and not read.stderr, read.stderr
        files = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
        assert len(files) > 7 and len(read.stdout) == sum(os.path.getsize(path) for path in files)


def written(version, name):
    out = os.path.dirname(os.path.dirname(version))
    folder, = layouts.write([name], out, version)
    assert folder == os.path.join(out, "layouts", name)
    return folder


def unpacked(path):
    with tarfile.open(path) as tar:
        return {entry.name: (entry.mode, tar.extractfile(entry).read()) for entry in tar}


def test_kserve_names_the_model_in_its_own_letters_and_runs_as_nobody_of_note(version):
    folder = written(version, "kserve")
    assert os.listdir(folder) == ["vial-7-b.yaml"]
    with open(os.path.join(folder, "vial-7-b.yaml"), encoding="utf-8") as stream:
        service = yaml.safe_load(stream)
    predictor = service["spec"]["predictor"]
    assert service["metadata"]["name"] == "vial-7-b" and re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", "vial-7-b")
    assert predictor["securityContext"] == {"runAsUser": 1000, "runAsNonRoot": True}
    assert predictor["model"]["modelFormat"] == {"name": "tensorflow"}
    assert predictor["model"]["runtimeVersion"] == "2.15.1" and predictor["model"]["storageUri"].endswith("/Vial_7.b")


def test_sagemaker_gets_the_version_and_its_handlers_for_any_user_to_read(version):
    before = open(os.path.join(written(version, "sagemaker"), "Vial_7.b.tar.gz"), "rb").read()
    path = os.path.join(written(version, "sagemaker"), "Vial_7.b.tar.gz")
    assert open(path, "rb").read() == before  # the same version, the same bytes
    found = unpacked(path)
    assert set(found) == {"code/inference.py", *(f"Vial_7.b/4/{name}" for name in (
        "saved_model.pb", "variables/data", "manifest.json"))}  # the server has no use for the ONNX file
    assert {mode for mode, _ in found.values()} == {0o644}
    assert found["Vial_7.b/4/saved_model.pb"][1] == b"saved_model.pb"


def test_the_handlers_of_sagemaker(version):
    handlers = {}
    source = unpacked(os.path.join(written(version, "sagemaker"), "Vial_7.b.tar.gz"))["code/inference.py"][1]
    exec(compile(source, "inference.py", "exec"), handlers)

    def asked(content, kind):
        return handlers["input_handler"](io.BytesIO(content), SimpleNamespace(request_content_type=kind))

    request = json.loads(asked(b"\x89PNG", "application/x-image"))
    assert request["signature_name"] == "serve_regions"
    assert base64.b64decode(request["instances"][0]["image_bytes"]["b64"]) == b"\x89PNG"
    assert asked(b'{"instances": []}', "application/json") == '{"instances": []}'
    with pytest.raises(ValueError, match="text/csv: expected"):
        asked(b"1,2", "text/csv")
    context = SimpleNamespace(accept_header="application/json")
    answer = SimpleNamespace(status_code=200, content=b"{}")
    assert handlers["output_handler"](answer, context) == (b"{}", "application/json")
    with pytest.raises(ValueError, match="no such signature"):
        handlers["output_handler"](SimpleNamespace(status_code=400, content=b"no such signature"), context)


def test_vertex_gets_a_request_that_it_can_send_and_a_script_that_asks_for_what_it_needs(version):
    folder = os.path.join(written(version, "vertex"), "Vial_7.b")
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as stream:
        content = base64.b64decode(json.load(stream)["instances"][0]["image_bytes"]["b64"])
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED).shape == (24, 32)
    script = open(os.path.join(folder, "upload.sh"), encoding="utf-8").read()
    assert '--artifact-uri="$BUCKET/Vial_7.b/4"' in script
    done = subprocess.run(["bash", os.path.join(folder, "upload.sh")], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]})
    assert done.returncode and "REGION" in done.stderr  # before it calls anything


def test_triton_and_openvino_get_the_onnx_file_where_they_look(version):
    folder = written(version, "triton")
    assert open(os.path.join(folder, "Vial_7.b", "1", "model.onnx"), "rb").read() == b"onnx/model.onnx"
    text = open(os.path.join(folder, "Vial_7.b", "config.pbtxt"), encoding="utf-8").read()
    assert 'name: "Vial_7.b"' in text and "dims: [ 24, 32, 3 ]" in text and "dims: [ 24, 32, 1 ]" in text
    assert text.count("{") == text.count("}") and text.count("[") == text.count("]")
    folder = written(version, "openvino")
    assert open(os.path.join(folder, "Vial_7.b", "4", "model.onnx"), "rb").read() == b"onnx/model.onnx"
    with open(os.path.join(folder, "Vial_7.b.json"), encoding="utf-8") as stream:
        served, = json.load(stream)["model_config_list"]
    assert served == {"config": {"name": "Vial_7.b", "base_path": "/models/Vial_7.b"}}


def test_a_layout_is_of_the_newest_version_and_keeps_other_models(version):
    out = os.path.dirname(os.path.dirname(version))
    kept = os.path.join(out, "layouts", "openvino", "other.json")
    os.makedirs(os.path.dirname(kept))
    open(kept, "w").close()
    written(version, "openvino")
    os.rename(version, os.path.join(os.path.dirname(version), "5"))
    folder = written(os.path.join(os.path.dirname(version), "5"), "openvino")
    assert sorted(os.listdir(folder)) == ["Vial_7.b", "Vial_7.b.json", "other.json"]
    assert os.listdir(os.path.join(folder, "Vial_7.b")) == ["5"]
    assert os.listdir(os.path.join(out, "layouts")) == ["openvino"]


@pytest.mark.parametrize("names, formats, default, said", [
    (["kserve", "nomad"], (), "serving_default", "nomad: expected some of kserve, sagemaker"),
    (["triton"], (), "serving_default", "triton needs --format onnx"),
    (["openvino"], ("tftrt",), "score", "openvino needs"),
    (["vertex"], ("onnx",), "score", "vertex needs --default-signature serve_bytes")])
def test_what_does_not_go_together_is_named_before_the_export(names, formats, default, said):
    with pytest.raises(InputError, match=said):
        layouts.check(names, formats, default)
    layouts.check(list(layouts.WRITERS), ("onnx",), "serve_bytes")
