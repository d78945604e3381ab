"""From a trained model to a published version: SavedModel, warmup requests, self-test, manifest, the server's files."""
import os

import numpy as np
import tensorflow as tf

from ..errors import ExportStopped, InputError
from ..image_files import MAX_PIXELS
from ..model import GRDNet
from ..weights import network_arrays
from . import folding, publish, selftest, server_files, warmup
from .signatures import write_saved_model


def export(model, thresholds, out, name, version, *, image_size=None, batch_sizes=(1, 8), max_pixels=MAX_PIXELS,
           about=None) -> str:
    """Write OUT/`name`/`version` and OUT/serving; returns the version's folder.

    Args:
      model: the trained GRDNet.
      thresholds: as `calibration.calibrate` gives them, for pictures of `image_size`.
      image_size: (H, W) of the served pictures, default that of the model.
      batch_sizes, max_pixels: as of `signatures.signatures`.
      about: plain data for the manifest: where the model comes from.

    Raises: InputError for weights that are not finite or a folder that cannot be written; ExportStopped where the written
    model does not answer as the trained one does. Neither leaves a version behind.
    """
    check_finite(model)
    half = folding.inference_half(model, image_size)

    def write(folder):
        try:
            offered = write_saved_model(folder, half, thresholds, batch_sizes, max_pixels)
        except tf.errors.OpError as error:
            raise ExportStopped(f"cannot write the SavedModel: {error.message.splitlines()[0]}") from error
        stored = stored_numbers(folder)
        if stored > 1.01 * folding.parameters(half):
            raise ExportStopped(f"the SavedModel holds {stored} numbers, inference needs {folding.parameters(half)}")
        worst = selftest.check(folder, model, thresholds, offered)
        pictures, roi = selftest.test_pictures(*half.image_size, half.channels)
        warmup.write_warmup(os.path.join(folder, warmup.FILE), name, version, [
            (key, selftest.requests(signature, pictures, roi)[0]) for key, signature in offered.items()])
        return {"model": name, "version": version, "image_size": list(half.image_size), "channels": half.channels,
                "parameters": folding.parameters(half), "thresholds": thresholds, "max_pixels": max_pixels,
                "signatures": {key: {spec.name: [spec.dtype.name, spec.shape.as_list()] for spec in signature.inputs}
                               for key, signature in offered.items()},
                "self_test": {"largest_difference": worst, "tolerance": selftest.TOLERANCE}, **(about or {})}

    final = publish.publish(os.path.join(out, name), version, write)
    server_files.write_server_files(out, name, server_files.Description(
        version, half.image_size, half.channels, thresholds["image"]["value"], batch_sizes, tf.__version__))
    return final


def check_finite(model: GRDNet) -> None:
    """InputError naming the network that holds NaN or infinity."""
    for name, array in network_arrays(model).items():
        if not np.isfinite(array).all():
            raise InputError(f"the weights of the {name.partition('/')[0]} are not finite; train it anew")


def stored_numbers(folder: str) -> int:
    """Elements of all variables in a SavedModel."""
    variables = tf.train.list_variables(os.path.join(folder, "variables", "variables"))
    return sum(int(np.prod(shape)) for name, shape in variables if not name.startswith("_CHECKPOINTABLE"))
