"""What a server of exports needs besides them: DIR/serving, beside the folders of the models.

    models.config  batching.config  monitoring.config  docker-compose.yml  client.py  README.md

The settings are written once and then belong to the user: another export leaves them as they are, and only adds its
model to models.config. client.py and README.md are written anew.
"""
import logging
import os
import re
from typing import NamedTuple, Sequence, Tuple

import yaml

from ..errors import InputError
from ..evaluation.thresholds import Limits
from ..storage import lock, make_folder, make_readable, write_text, writing
from .names import DEFAULT, TENSORS
from .server_readme import ENGINES, README, UPRIGHT

logger = logging.getLogger(__name__)

FOLDER = "serving"
MODELS = "models.config"
FILES = (MODELS, "batching.config", "monitoring.config", "docker-compose.yml", "client.py", "README.md")
LOCK = ".grdnet.lock"  # held while the files are written
BATCH = 16  # pictures that the server merges at most


class Description(NamedTuple):
    """What the files say of an export."""
    version: int
    image_size: Tuple[int, int]  # (H, W) of the tensors; files are resized to it
    channels: int
    limits: Limits               # above which scores a picture is rejected, or looked at again
    batch_sizes: Sequence[int]   # of the static signatures
    tensorflow: str              # version that wrote the export: the server must be as new
    engines: Sequence[str] = ()  # models of its TensorRT engines
    default: str = DEFAULT       # which signature serving_default is
    upright: bool = False        # it takes parts that `grdnet align` has turned upright


def write_server_files(out_dir, model_name, description) -> str:
    """Write OUT_DIR/serving for the model in OUT_DIR/`model_name`; returns that folder.

    Raises: InputError for a name that a server or a shell would misread, or if a file cannot be written or is damaged.
    """
    check(out_dir, model_name, description.engines)
    folder = os.path.join(out_dir, FOLDER)
    with writing(folder):
        make_folder(folder)
    with lock(os.path.join(folder, LOCK), wait=60.0):  # or of two that add to models.config one drops the other's
        _write(folder, model_name, description, check(out_dir, model_name, description.engines))
    return folder


def _write(folder, model_name, description, models):
    _write_batching(os.path.join(folder, "batching.config"), max(description.batch_sizes, default=1))
    for name, text in (("monitoring.config", MONITORING), ("docker-compose.yml", compose(description.tensorflow))):
        if not os.path.exists(os.path.join(folder, name)):
            _put(os.path.join(folder, name), text)
    from . import client

    with open(client.__file__, encoding="utf-8") as stream:
        _put(os.path.join(folder, "client.py"), stream.read())
    height, width = description.image_size
    _put(os.path.join(folder, "README.md"), README.format(
        model=model_name, version=description.version, following=description.version + 1, height=height, width=width,
        channels=description.channels, threshold=f"{description.limits.reject:.6g}",
        look=look_words(description.limits), upright=UPRIGHT if description.upright else "",
        tensorflow=description.tensorflow,
        image=docker_image(description.tensorflow),
        tensors=TENSORS if description.default != DEFAULT else DEFAULT,
        default="" if description.default == DEFAULT else f"| `{DEFAULT}` | as `{description.default}` | the same |\n",
        static=", ".join(f"`static_b{n}`" for n in description.batch_sizes) or "`static_b<n>` (none exported)",
        engines="".join(ENGINES.format(name=name) for name in description.engines)))
    if models is not None:  # last: a server looks for a model as soon as it is named
        _put(os.path.join(folder, MODELS), models)


def look_words(limits):
    return f", one above {limits.look:.6g} to be looked at again" if limits.look < limits.reject else ""


def check(out_dir, model_name, engines=()):
    """The text of models.config with the models added, None where it names them all already.

    Raises: InputError for a name that a server or a shell would misread, a models.config that cannot be added to, or
      something else in the place of a file: said before the export, which takes a minute.
    """
    check_name(model_name)
    folder = os.path.join(out_dir, FOLDER)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"cannot write {folder}: File exists")
    for name in FILES:
        if os.path.isdir(os.path.join(folder, name)):
            raise InputError(f"cannot write {os.path.join(folder, name)}: Is a directory")
    path = os.path.join(folder, MODELS)
    text, sections = EMPTY, ""
    try:
        if os.path.lexists(path):
            with open(path, encoding="utf-8") as stream:
                text = stream.read().rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    for name in (model_name, *engines):
        if not re.search(rf'\bname\s*:\s*["\']{re.escape(name)}["\']', text):
            sections += section(name, name in engines)
    if not sections:
        return None
    if not text.startswith("model_config_list") or not text.endswith("}"):
        raise InputError(f"{path}: expected model_config_list {{ ... }}; repair it, or delete it and export again")
    return f"{text[:-1]}{sections}}}\n"


def section(name, engine=False) -> str:
    """What models.config says of one model."""
    return (ENGINE if engine else "") + SECTION.format(name=name)


def models_config(names, engines=()) -> str:
    """A models.config with these models and no other."""
    return EMPTY[:-1] + "".join([*map(section, names), *(section(name, True) for name in engines)]) + "}\n"


def check_name(model_name) -> None:
    """InputError for a name that a server or a shell would misread."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", model_name) or model_name == FOLDER:
        raise InputError(f"model name '{model_name}': expected letters, digits, '_', '-', '.', and not '{FOLDER}'")


def docker_image(tensorflow) -> str:
    """A server loads what its own or an older TensorFlow wrote: the image of the same release, or a newer one."""
    return f"tensorflow/serving:{tensorflow}"


def compose(tensorflow) -> str:
    """docker-compose.yml with one service for CPUs and, under the profile "gpu", one for NVIDIA GPUs."""
    flags = ["--model_config_file=/models/serving/models.config", "--model_config_file_poll_wait_seconds=30",
             "--monitoring_config_file=/models/serving/monitoring.config", "--enable_batching=true",
             "--batching_parameters_file=/models/serving/batching.config"]
    common = {"restart": "unless-stopped", "ports": ["8500:8500", "8501:8501"], "volumes": ["..:/models:ro"],
              "command": flags}
    gpu = {"resources": {"reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}}}
    services = {"cpu": dict(common, image=docker_image(tensorflow), profiles=["cpu"]),
                "gpu": dict(common, image=docker_image(tensorflow) + "-gpu", profiles=["gpu"], deploy=gpu)}
    head = ("# docker compose --profile cpu up -d     or, on a machine with an NVIDIA GPU:\n"
            "# docker compose --profile gpu up -d     gRPC on port 8500, REST on port 8501\n")
    return head + yaml.dump({"services": services}, Dumper=_Whole, sort_keys=False, default_flow_style=False)


class _Whole(yaml.SafeDumper):
    """YAML without anchors: each service can be read and changed by itself."""

    def ignore_aliases(self, data):
        return True


def _put(path, text):
    write_text(path, text)
    make_readable(path)


def _write_batching(path, static):
    """batching.config; a server with batching refuses the warmup of a static signature that is larger than a batch."""
    if not os.path.exists(path):
        _put(path, BATCHING.format(most=max(BATCH, static)))
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            found = re.search(r"max_batch_size\s*\{\s*value\s*:\s*(\d+)", stream.read())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if found and int(found[1]) < static:
        logger.warning("warning: %s: max_batch_size is %s, but a static signature takes %d pictures: the server would "
                       "refuse its warmup; raise it", path, found[1], static)


EMPTY = "model_config_list {\n}"
ENGINE = "  # TensorRT engines, for one kind of GPU: take this model out for a server that has another, or none.\n"
SECTION = """\
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
"""

BATCHING = """\
# Requests that wait together are answered together. Protocol buffer text of BatchingParameters.
max_batch_size {{ value: {most} }}           # pictures at once, at most
batch_timeout_micros {{ value: 1000 }}     # a lone request waits this long for company: 1 ms
max_enqueued_batches {{ value: 64 }}       # what comes on top is refused at once (UNAVAILABLE) instead of waiting
# num_batch_threads {{ value: 2 }}         # batches at the same time; default: one a core
"""

MONITORING = """\
# Counters and latencies for Prometheus, on the REST port.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""
