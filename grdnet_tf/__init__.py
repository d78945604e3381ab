"""GRD-Net for TensorFlow: anomaly detection by reconstruction and segmentation, with a region of interest.

    from grdnet_tf import GRDNet
"""
import os
import platform
from importlib import import_module

for _library, _silent in (("OPENCV_LOG_LEVEL", "SILENT"), ("OPENCV_FFMPEG_LOGLEVEL", "-8")):
    os.environ.setdefault(_library, _silent)  # a damaged file is reported once, by us; read when cv2 is imported
if platform.machine().lower() in ("x86_64", "amd64"):
    # TensorFlow asks for it by itself only where there is AVX-512; read when it is imported. docs/reliability.md
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
__version__ = "0.1.0"
_HOME = {  # public name -> file; imported when asked for, as --help must not wait for TensorFlow
    "GRDNet": "model.grdnet", "Detection": "model.grdnet",                         # the model, and what it gives
    "Network": "options", "Loss": "options", "Noise": "options",                   # what it can be told
    "load_config": "config", "build_model": "training.building", "load_run": "training.building",  # a run
    "load": "inspection.detector",                                                 # what inspects new pictures
    "InputError": "errors",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
