"""From a trained model to a published version: SavedModel, warmup requests, self-test, manifest, the server's files."""
import os
import shutil
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from ..data.files import MAX_PIXELS
from ..errors import ExportStopped, InputError
from ..evaluation.thresholds import Limits
from ..model.grdnet import GRDNet
from ..model.weights import network_arrays
from . import folding, publish, selftest, server_files, warmup
from .convert import formats, judge
from .names import DEFAULT
from .signatures import Station, write_saved_model

# What `described` tells.
TOLD = ("model", "version", "image_size", "channels", "score_pool", "thresholds", "white", "station")



class Options(NamedTuple):
    """What is written, beside the SavedModel in float32, which always is."""
    image_size: Optional[Tuple[int, int]] = None  # (H, W) of the served pictures, default that of the model
    batch_sizes: Sequence[int] = (1, 8)           # of the static signatures
    max_pixels: int = MAX_PIXELS                  # a picture file that claims more is refused
    formats: Sequence[str] = ()                   # of formats.FORMATS
    precision: str = "fp32"                       # of these formats: fp32, fp16, int8
    pictures: Optional[judge.Pictures] = None  # that a lower precision is calibrated and judged on
    white: int = 0                             # data.white of the run: what counts as white in a picture file
    default: str = DEFAULT                     # of MAY_BE_DEFAULT: what serving_default is
    station: Station = Station()               # of the run, as far as the graph has it
    settings: Optional[dict] = None            # all of it, for whoever uses the export
    files: Sequence[str] = ()                  # that the settings name; copies are put beside the SavedModel


def export(model, thresholds, out, name, version, options=Options(), about=None) -> List[str]:
    """Write OUT/`name`/`version` and OUT/serving; with "tftrt" also OUT/`name`_tftrt_b<N>/`version`.

    Args:
      model: the trained GRDNet.
      thresholds: as `calibration.calibrate` gives them, for pictures of the served size.
      about: plain data for the manifests: where the model comes from.

    Returns: the folders of the versions.
    Raises: InputError for weights that are not finite or what cannot be written (a full disk); ExportStopped where the
    written model does not answer as the trained one does. Neither leaves a version behind.
    """
    check_finite(model)
    half, inside = folding.inference_half(model, options.image_size), options.station.roi is not None
    source = {}  # where the SavedModel stands until it is published

    def write(folder):
        offered = _write_checked(folder, model, half, thresholds, options, source)
        _warm_up(folder, name, version, half, offered)
        told = described(name, version, half, thresholds, options)
        content = {**told, "parameters": folding.parameters(half), "max_pixels": options.max_pixels,
                   "signatures": {key: {spec.name: [spec.dtype.name, spec.shape.as_list()] for spec in signature.inputs}
                                  for key, signature in offered.items()},
                   "self_test": {"largest_difference": source["worst"],
                                 "tolerance": selftest.TOLERANCE * selftest.rounding(half)},
                   **(about or {})}
        if "onnx" in options.formats:
            content["onnx"] = formats.to_onnx(folder, half, thresholds, options.precision, options.pictures, told, inside)
        return content

    def write_engine(batch):
        def write_one(folder):
            static = f"static_b{batch}"
            told = formats.to_tensorrt(source["folder"], folder, half, thresholds, batch, options.precision,
                                          options.pictures, inside)
            _warm_up(folder, engine_name(name, batch), version, half, {static: source["offered"][static]})
            return {"model": engine_name(name, batch), "version": version, "tftrt": told, "thresholds": thresholds,
                    **(about or {})}
        return write_one

    def write_beside():
        server_files.write_server_files(out, name, server_files.Description(
            version, half.image_size, half.channels, Limits.of(thresholds, inside), options.batch_sizes, tf.__version__,
            tuple(engines), options.default, bool((options.settings or {}).get("align"))))

    engines = {engine_name(name, batch): batch for batch in options.batch_sizes if "tftrt" in options.formats}
    targets = {os.path.join(out, name): write}
    targets.update((os.path.join(out, engine), write_engine(batch)) for engine, batch in engines.items())
    return publish.publish(version, targets, write_beside)


def described(name, version, half, thresholds, options) -> dict:
    """What whoever uses the model must know: of the manifest, and of the ONNX file by itself."""
    return dict(zip(TOLD, (name, version, list(half.image_size), half.channels, half.score_pool, thresholds,
                           options.white, options.settings or {})))


def engine_name(name, batch):
    """A model of its own: TensorRT engines are for one signature and one kind of GPU."""
    return f"{name}_tftrt_b{batch}"


def check_finite(model: GRDNet) -> None:
    """InputError naming the network that holds NaN or infinity."""
    for name, array in network_arrays(model).items():
        if not np.isfinite(array).all():
            raise InputError(f"the weights of the {name.partition('/')[0]} are not finite; train it anew")


def stored_numbers(folder: str) -> int:
    """Elements of all variables in a SavedModel."""
    variables = tf.train.list_variables(os.path.join(folder, "variables", "variables"))
    return sum(int(np.prod(shape)) for name, shape in variables if not name.startswith("_CHECKPOINTABLE"))


def _write_checked(folder, model, half, thresholds, options, source):
    """Write the SavedModel, count its numbers and self-test it; its signatures."""
    try:
        offered = write_saved_model(folder, half, thresholds, options.batch_sizes, options.max_pixels,
                                     options.white, options.station, options.default)
        for file in options.files:
            shutil.copyfile(file, os.path.join(folder, os.path.basename(file)))
    except tf.errors.OpError as error:
        raise InputError(f"cannot write the SavedModel: {error.message.splitlines()[0]}") from error
    stored, needed = stored_numbers(folder), folding.parameters(half)
    if stored > 1.01 * needed:
        raise ExportStopped(f"the SavedModel holds {stored} numbers, inference needs {needed}")
    worst = selftest.check(folder, model, thresholds, offered, options.station)
    source.update(folder=folder, offered=offered, worst=worst)
    return offered


def _warm_up(folder, name, version, half, signatures):
    """Write one warmup request for each of `signatures` to the version in `folder`."""
    pictures, roi = selftest.test_pictures(*half.image_size, half.channels)
    warmup.write_warmup(os.path.join(folder, warmup.FILE), name, version, [
        (key, selftest.requests(signature, pictures, roi)[0]) for key, signature in signatures.items()])
