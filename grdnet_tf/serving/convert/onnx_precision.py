"""Lower precision for an ONNX model: the networks in float16 or int8, what judges pictures and maps in float32."""
import copy
import os
import tempfile

import numpy as np

QUANTISED = ("Conv", "ConvTranspose", "MatMul")
BATCH = 8  # pictures at once in calibration


def networks(graph) -> set:
    """Names of the nodes from the first convolution to the anomaly map: after a convolution and before a sigmoid."""
    producer = {tensor: node for node in graph.node for tensor in node.output}
    consumers = {}
    for node in graph.node:
        for tensor in node.input:
            consumers.setdefault(tensor, []).append(node)

    def reached(operations, step):
        found, waiting = set(), [node for node in graph.node if node.op_type in operations]
        while waiting:
            node = waiting.pop()
            if node.name not in found:
                found.add(node.name)
                waiting += step(node)
        return found

    after = reached(QUANTISED, lambda node: [user for tensor in node.output for user in consumers.get(tensor, ())])
    before = reached(("Sigmoid",), lambda node: [producer[tensor] for tensor in node.input if tensor in producer])
    return after & before


def half(model):
    """`model` with its networks in float16; inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    inside = networks(model.graph)
    kept = [node.name for node in model.graph.node if node.name not in inside]
    found = OnnxModel(convert_float_to_float16(copy.deepcopy(model), keep_io_types=True, node_block_list=kept))
    found.topological_sort()  # the conversion appends its casts at the end, which the format forbids
    return found.model


def int8(model, pictures):
    """`model` with its convolutions and dense layers in int8, ranges from `pictures` (N, H, W, C) float32.

    Symmetric, weights a channel: what TensorRT takes. The ranges are in the graph (quantise / dequantise nodes).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter(np.array_split(pictures, -(-len(pictures) // BATCH)))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    inside = networks(model.graph)
    nodes = [node.name for node in model.graph.node if node.name in inside and node.op_type in QUANTISED]
    with tempfile.TemporaryDirectory() as folder:  # it reads and writes files only
        source, target = os.path.join(folder, "fp32.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(model, source)
        quantize_static(source, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, nodes_to_quantize=nodes,
                        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True})
        return onnx.load(target)
