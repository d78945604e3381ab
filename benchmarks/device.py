"""What this machine and its packages have for a GPU: a line each, and why something will be skipped.

    python benchmarks/device.py [--json FILE]
"""
import argparse
import os
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="append what is found as JSON lines")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    from benchmarks import lines

    for what, found in facts():
        print(f"{what:22} {found}", flush=True)
        lines.add(arguments.json, what=what, found=found)
    return 0


def facts():
    """(what, text) pairs, the ones that may end the process last."""
    from grdnet_tf.training import run_folder

    told = run_folder.environment()
    yield "processor", f"{told['processor']}, {len(os.sched_getaffinity(0))} cores"
    yield "card", card()
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    yield "TensorFlow", f"{tf.__version__}, Keras {metadata.version('keras')}, Python {sys.version.split()[0]}"
    yield "built for", f"CUDA {build.get('cuda_version', 'none')}, cuDNN {build.get('cudnn_version', 'none')}"
    gpus = tf.config.list_physical_devices("GPU")
    yield "GPUs TensorFlow sees", str(len(gpus)) if gpus else "none: all that follows runs on the CPU"
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        yield gpu.name, f"{details.get('device_name')}, compute capability {details.get('compute_capability')}"
    yield "TF-TRT", tftrt()
    yield "ONNX Runtime", runtime()


def card():
    """What the driver says, or why it says nothing."""
    if shutil.which("nvidia-smi") is None:
        return "no nvidia-smi: no NVIDIA driver"
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi: {error}"
    return "; ".join((done.stdout or done.stderr).strip().splitlines())


def tftrt():
    from grdnet_tf.errors import InputError
    from grdnet_tf.serving.convert import tensorrt

    try:
        tensorrt.require()
    except InputError as error:
        return f"skipped: {error}"
    return "there"


def runtime():
    if find_spec("onnxruntime") is None:
        return "not installed"
    import onnxruntime

    return f"{onnxruntime.__version__}, {', '.join(onnxruntime.get_available_providers())}"


if __name__ == "__main__":
    sys.exit(main())
