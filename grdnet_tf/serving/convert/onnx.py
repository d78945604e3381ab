"""A SavedModel's signature of float pictures as ONNX, for ONNX Runtime, OpenVINO and `trtexec`: score and decision inside.

Input `images` (batch, H, W, C) float32 in [0, 1], any batch; score, is_anomalous, verdict, anomaly_map. Both stacks use tf2onnx:
Keras' own exporter is tf2onnx too, and is there on Keras 3 only.
"""
import contextlib
import json
import os
import shlex

import numpy as np

from ...errors import ExportStopped, InputError
from .. import selftest
from ..names import of_tensors
from . import graphs, onnx_precision

OPSET = 17         # TensorRT 8.6 and later read it
TOLERANCE = 1e-4   # of score and map, against the SavedModel
METADATA = "grdnet"  # of the file: JSON of what it was made for, as in the manifest
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def require() -> None:
    """InputError where a package is missing. Takes no TensorFlow."""
    from importlib.util import find_spec

    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"--format onnx: missing packages: {', '.join(missing)}; requirements.txt has them, or "
                         "pip install '.[onnx]'")


def write(saved_model: str, path: str, precision="fp32", pictures=None, limits=(), told=None, rounding=1) -> dict:
    """Write `saved_model` as ONNX to `path`; the fp32 form is compared with the SavedModel first.

    Args:
      precision: "fp32"; "fp16" or "int8": the networks in it, what makes the score of the map in float32.
      pictures: (N, H, W, C) float32 good pictures that int8 is calibrated on.
      limits, rounding: see `parity`.
      told: plain data that the file says of itself, under `METADATA`.

    Returns: {"largest_difference": {"score": of the fp32 form, "anomaly_map": ...}, "opset": ..., "precision": ...}.
    Raises: ExportStopped where it cannot be converted or does not answer as the SavedModel does; OSError.
    """
    import onnx

    model = convert(saved_model)
    report = {"largest_difference": parity(saved_model, model, limits, rounding), "opset": OPSET, "precision": precision}
    with stopping(f"ONNX: cannot be made {precision}"):
        if precision == "fp16":
            model = onnx_precision.half(model)
        elif precision == "int8":
            model = onnx_precision.int8(model, pictures)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if told is not None:
        model.metadata_props.add(key=METADATA, value=json.dumps(told))
    with stopping("ONNX: cannot be written"):
        onnx.checker.check_model(model)
        onnx.save(model, path)
    return report


@contextlib.contextmanager
def stopping(what: str):
    """The errors of tf2onnx, onnx and onnxruntime as ExportStopped, one line; those of the disk stay OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # they have no common class, and bare Exception is among them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportStopped(f"{what}: {reason}") from error


def convert(saved_model: str):
    """The ModelProto of `saved_model`, fp32."""
    import onnx
    import tf2onnx

    frozen = graphs.frozen(saved_model)
    with stopping("tf2onnx cannot convert the graph"):
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph_def, input_names=list(frozen.inputs.values()), output_names=list(frozen.outputs.values()),
            opset=OPSET, custom_op_handlers={"SelectV2": (_select, [])})
    _rename(model.graph, {tensor: name for name, tensor in {**frozen.inputs, **frozen.outputs}.items()})
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    with stopping("ONNX: the converted model is not sound"):
        onnx.checker.check_model(model)
    return model


def _select(context, node, name, arguments):
    """SelectV2 as Where. tf2onnx would multiply by 0 and 1, and NaN times 0 is NaN: a broken picture could pass."""
    node.type = "Where"
    return node


def _rename(graph, names):
    """Give the tensors of a graph other names: {present name: new name}."""
    for node in graph.node:
        for field in (node.input, node.output):
            for i, name in enumerate(field):
                field[i] = names.get(name, name)
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


class Runtime:
    """An ONNX model (ModelProto or path) in ONNX Runtime on the CPU. `run(images)` -> {output: array}.

    Raises: ExportStopped where it cannot be loaded or run.
    """

    def __init__(self, model):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: warnings are about its own optimizations
        with stopping("ONNX Runtime cannot load the model"):
            source = model if isinstance(model, str) else model.SerializeToString()
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def metadata(self) -> dict:
        """What the file says of itself, {name: text}."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def run(self, images) -> dict:
        with stopping("ONNX Runtime cannot run the model"):
            return dict(zip(self.outputs, self.session.run(self.outputs, {"images": images})))


def parity(saved_model: str, model, limits=(), rounding=1) -> dict:
    """The largest difference of score and map between `model` and the SavedModel. ExportStopped above TOLERANCE, times
    the `rounding` of what the model sees with.

    Sound pictures and a broken one (NaN), in batches of different length. Decisions must be equal, but where the score
    is within that of one of `limits`.
    """
    tolerance = rounding * TOLERANCE
    runtime, worst = Runtime(model), {"score": 0.0, "anomaly_map": 0.0}
    height, width, channels = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])
    images = selftest.test_pictures(height, width, channels)[0] / np.float32(255)
    broken = images.copy()
    broken[1, 0, 0] = np.nan
    with selftest.Session(saved_model) as session:
        for batch in (images[:1], images, broken):
            expected, found = session.run(of_tensors(session.definitions), images=batch), runtime.run(batch)
            for name, largest in worst.items():
                worst[name] = max(largest, float(np.abs(expected[name] - found[name]).max()))
                if not worst[name] <= tolerance:  # NaN is not
                    raise ExportStopped(f"ONNX: {name} differs by {worst[name]:.2g} from the SavedModel's, more than "
                                        f"{tolerance:g}")
            clear = (np.abs(expected["score"][:, None] - np.array([np.inf, *limits])) > tolerance).all(axis=1)
            for name in ("is_anomalous", "verdict"):
                if (expected[name] != found[name])[clear].any():
                    raise ExportStopped(f"ONNX: {name} is not what the SavedModel gives")
    return worst


def trtexec(path: str, image_size, channels: int, batch_sizes, precision="fp32") -> str:
    """The command that makes a TensorRT engine of the file, on the machine with the GPU, in its working folder.

    Not beside the file: a published version holds what its manifest lists, and nothing else.
    """
    def shapes(kind, batch):
        return f"--{kind}Shapes=images:{batch}x{image_size[0]}x{image_size[1]}x{channels}"

    types = {"fp32": "", "fp16": " --fp16", "int8": " --int8 --fp16"}[precision]
    return (f"trtexec --onnx={shlex.quote(path)} --saveEngine=model.plan {shapes('min', min(batch_sizes))} "
            f"{shapes('opt', max(batch_sizes))} {shapes('max', max(batch_sizes))}{types}")
