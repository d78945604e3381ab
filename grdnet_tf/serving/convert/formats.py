"""The other forms of an export, made from its SavedModel and, in a lower precision, judged against it."""
import os

import numpy as np
import tensorflow as tf

from ...evaluation.thresholds import Limits
from .. import names, selftest
from . import judge, onnx, tensorrt

FORMATS = {"onnx": onnx.require, "tftrt": tensorrt.require}  # what must be there for each: raises InputError
ONNX = os.path.join(*names.ONNX.split("/"))


def to_onnx(folder, model, thresholds, precision, pictures, told=None, inside=False) -> dict:
    """Write the SavedModel in `folder` as ONNX beside it; what the manifest says of it, the gate's figures included.

    `told`: what the file says of itself. `inside`: whether the graph has a ROI, by whose thresholds it decides.
    """
    path = os.path.join(folder, ONNX)
    limits = [limit for either in (False, True) for limit in Limits.of(thresholds, either)]
    told = onnx.write(folder, path, precision, calibration_pictures(model, precision, pictures), limits, told,
                      selftest.rounding(model))
    runtime = onnx.Runtime(path)
    gate = judged(folder, lambda images: runtime.run(images)["score"], model, Limits.of(thresholds, inside), precision,
                  pictures)
    return dict(told, gate=gate)


def to_tensorrt(source, folder, model, thresholds, batch, precision, pictures, inside=False) -> dict:
    """Write static_b<`batch`> of the SavedModel in `source` with TensorRT engines to `folder`; as `to_onnx`."""
    told = tensorrt.convert(source, folder, batch, precision, calibration_pictures(model, precision, pictures))
    loaded = tf.saved_model.load(folder)
    engine = loaded.signatures[f"static_b{batch}"]

    def scores(images):
        found = []
        for start in range(0, len(images), batch):
            part = images[start:start + batch]
            filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            found.append(engine(images=tf.constant(filled))["score"].numpy()[:len(part)])
        return np.concatenate(found)

    gate = judged(source, scores, model, Limits.of(thresholds, inside), precision, pictures)
    return dict(told, precision=precision, gate=gate)


def calibration_pictures(model, precision, pictures):
    """(N, H, W, C) good pictures for int8, None for the others."""
    if precision != "int8":
        return None
    return judge.load(pictures.calibration, model.image_size, model.channels, pictures.white)


def judged(saved_model, scores, model, limits, precision, pictures) -> dict:
    """The figures of `judge` for `scores`, a function of images, against the SavedModel.

    fp32 is judged on the self-test's pictures.
    Raises: ExportStopped where scores or decisions change too much.
    """
    with selftest.Session(saved_model) as session:
        def reference(images):
            return session.run("score", images=images)["score"]

        if precision != "fp32":
            return judge.gate(precision, reference, scores, pictures.compared, model.image_size, model.channels,
                              limits, pictures.white)
        images = selftest.test_pictures(*model.image_size, model.channels)[0] / np.float32(255)
        names = [f"test picture {i}" for i in range(len(images))]
        return judge.judge(precision, reference(images), scores(images), limits, names)
