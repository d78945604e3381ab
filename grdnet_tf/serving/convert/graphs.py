"""The graph of one signature of a SavedModel, as converters see it: weights as constants, what is constant folded."""
from typing import NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer

from ..names import of_tensors

PASSES = ("pruning", "dependency", "constfold")  # of those that TF-TRT runs first: they bring in no new operations


class Frozen(NamedTuple):
    """A GraphDef without variables, and its tensors: {"images": "images:0"}, {"score": "Identity_2:0", ...}."""
    graph_def: object
    inputs: dict
    outputs: dict


def frozen(folder: str, signature=None) -> Frozen:
    """`signature` of the SavedModel in `folder`, None: that of float pictures. Functions are inlined, constants folded."""
    model = tf.saved_model.load(folder)  # a name of its own: its variables live as long as it does
    function = model.signatures[signature or of_tensors(model.signatures)]
    constant = convert_variables_to_constants_v2(function)
    inputs = {tensor.op.name: tensor.name for tensor in constant.inputs}
    # A signature's outputs come in the order of their names.
    outputs = dict(zip(sorted(function.structured_outputs), (tensor.name for tensor in constant.outputs)))
    return Frozen(_folded(constant), inputs, outputs)


def _folded(function):
    """The GraphDef of a function, after the passes over the graph that come before TF-TRT's own."""
    meta = tf.compat.v1.train.export_meta_graph(graph_def=function.graph.as_graph_def(), graph=function.graph)
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.extend(tensor.name for tensor in function.inputs + function.outputs)
    meta.collection_def["train_op"].CopyFrom(kept)  # the optimizer keeps what is in here
    config = tf.compat.v1.ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.optimizers.extend(PASSES)
    rewrite.min_graph_nodes = -1  # small graphs too
    return tf_optimizer.OptimizeGraph(config, meta, graph_id=b"signature")


def nodes(graph_def) -> list:
    """Every node, the function library's included."""
    return list(graph_def.node) + [node for function in graph_def.library.function for node in function.node_def]
