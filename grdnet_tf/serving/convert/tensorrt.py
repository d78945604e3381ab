"""TF-TRT: the fixed-size signatures of a SavedModel with TensorRT engines in them, on a TensorFlow that has TensorRT.

An engine fits the GPU it was built on. What cannot be tested without a GPU is kept to `convert`; whether a graph is
made of what TF-TRT converts is decided by `unconvertible`, on any machine.
"""
import numpy as np
import tensorflow as tf

from ...errors import ExportStopped, InputError
from . import graphs

# Operations that TF-TRT has a converter for with TensorRT 8.2 or later. From TensorFlow's source, the folder
# tensorflow/compiler/tf2tensorrt/convert: the registrations in convert_nodes.cc and in ops/*.cc
# (REGISTER_DEFAULT_TRT_OP_CONVERTER). "Placeholder" and "NoOp" are no work for anybody.
CONVERTIBLE = frozenset("""
Abs Acos Acosh Add AddN AddV2 ArgMax ArgMin Asin Asinh Atan Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BiasAdd
Cast Ceil ClipByValue CombinedNonMaxSuppression ConcatV2 Const Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2
Cos Cosh DataFormatVecPermute DepthToSpace DepthwiseConv2dNative Div Einsum Elu Equal Erf Exp ExpandDims
FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars Fill Floor FloorDiv FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
FusedConv2DBiasActivation GatherV2 Greater GreaterEqual Identity LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd
LogicalNot LogicalOr MatMul Max MaxPool MaxPool3D Maximum Mean Min Minimum Mul Neg NoOp OnesLike Pack Pad Placeholder
Pow Prod QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape
ResizeBilinear ResizeNearestNeighbor Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Sin Sinh Slice Snapshot
Softmax Softplus Softsign SpaceToDepth Split Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Sum
Tan Tanh Tile TopKV2 Transpose Unpack VariableV2 ZerosLike
""".split())

# Inputs that a converter takes as constants only (CheckInputsWeights in convert_nodes.cc), by their position.
CONSTANT_INPUTS = {"StridedSlice": (1, 2, 3), "Conv2D": (1,), "Conv2DBackpropInput": (0, 1), "Pad": (1,), "Tile": (1,),
                   "Reshape": (1,), "Transpose": (1,), "Max": (1,), "Min": (1,), "Mean": (1,), "Sum": (1,)}
WORKSPACE = 1 << 30  # bytes of GPU memory that TensorRT may try layouts in
SEGMENT = 3          # operations that an engine replaces at least


def unconvertible(graph_def) -> list:
    """What TF-TRT would leave to TensorFlow, a line a node: "BroadcastTo (encoder/tile): no converter"."""
    found, every = [], graphs.nodes(graph_def)
    operation = {node.name: node.op for node in every}
    for node in every:
        reason = _reason(node, operation)
        if reason:
            found.append(f"{node.op} ({node.name}): {reason}")
    return found


def _reason(node, operation):
    if node.op not in CONVERTIBLE:
        return "no converter"
    if node.op == "StridedSlice" and node.attr["new_axis_mask"].i:
        return "adds an axis"
    if node.op == "Cast" and (node.attr["SrcT"].type, node.attr["DstT"].type) != (tf.float16.as_datatype_enum,
                                                                                  tf.float32.as_datatype_enum):
        return "only float16 to float32 is converted"
    for position in CONSTANT_INPUTS.get(node.op, ()):
        if operation.get(node.input[position].split(":")[0]) != "Const":
            return f"input {position} is not constant"
    return None


def require() -> None:
    """InputError, one line that says what to do, where this TensorFlow or machine cannot build TensorRT engines."""
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as trt  # the module is there without TensorRT too

    instead = "or --format onnx, and trtexec on the machine with the GPU"
    linked = trt.get_linked_tensorrt_version()  # not the *loaded* one: asked without the library, it ends the process
    if not any(linked):
        raise InputError(f"--format tftrt: TensorFlow {tf.__version__} has no TensorRT; the last with it is 2.17 (the "
                         f"Keras 2 stack, Python 3.9 to 3.11, has 2.15), {instead}")
    if not trt.is_tensorrt_enabled():
        raise InputError(f"--format tftrt: TensorFlow {tf.__version__} found no TensorRT {linked[0]} (libnvinfer.so."
                         f"{linked[0]}); install TensorRT {'.'.join(map(str, linked))} and name its folder in "
                         f"LD_LIBRARY_PATH, {instead}")
    if not tf.config.list_physical_devices("GPU"):
        raise InputError(f"--format tftrt: TensorFlow sees no GPU, and engines are built on one, {instead}")


def convert(saved_model: str, folder: str, batch: int, precision="fp32", pictures=None) -> dict:
    """Write the signature static_b<`batch`> of `saved_model` to `folder`, as TensorRT engines for this machine's GPU.

    Args:
      batch: pictures at once; the SavedModel has a signature for it.
      precision: "fp32", "fp16" or "int8".
      pictures: (N, H, W, C) float32 good pictures that int8 is calibrated on, N at least `batch`; for the others None.

    Returns: {"engines": how many, "operations_left": of the rest of the graph, by name}.
    Raises: InputError for too few pictures; ExportStopped where the conversion fails or makes no engine.
    """
    if precision == "int8" and len(pictures) < batch:
        raise InputError(f"--precision int8: {len(pictures)} good pictures do not fill a batch of {batch} to "
                         "calibrate on")
    from tensorflow.python.compiler.tensorrt import trt_convert

    signature = f"static_b{batch}"
    shape = tf.saved_model.load(saved_model).signatures[signature].structured_input_signature[1]["images"].shape

    def example():
        yield {"images": tf.constant(np.full(shape, 0.5, np.float32))}

    def calibration():
        for start in range(0, len(pictures) - batch + 1, batch):
            yield {"images": tf.constant(pictures[start:start + batch])}

    try:
        # Explicit batch mode, in spite of the name for shapes that are known: the other one converts no comparison.
        converter = trt_convert.TrtGraphConverterV2(
            input_saved_model_dir=saved_model, input_saved_model_signature_key=signature, use_dynamic_shape=True,
            dynamic_shape_profile_strategy="Optimal", precision_mode=precision.upper(),
            max_workspace_size_bytes=WORKSPACE, minimum_segment_size=SEGMENT, use_calibration=precision == "int8",
            allow_build_at_runtime=False)  # a request must never wait for an engine
        converted = converter.convert(calibration_input_fn=calibration if precision == "int8" else None)
        converter.build(example)  # runs the calibration too
        converter.save(folder, save_gpu_specific_engines=True)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise ExportStopped(f"TF-TRT: {signature}: {str(error).splitlines()[0]}") from error
    operations = [node.op for node in converted.graph.as_graph_def().node]
    engines = operations.count("TRTEngineOp")
    if not engines:
        raise ExportStopped(f"TF-TRT: {signature}: no part of the graph became a TensorRT engine")
    left = sorted(set(operations) - {"TRTEngineOp", "Placeholder", "NoOp", "Const"})
    return {"engines": engines, "operations_left": left}
