"""TF-TRT as far as a machine without a GPU can tell: the graphs, the parameters of the conversion, the refusal."""
import inspect
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.errors import ExportStopped, InputError
from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.serving import client, export, publish, warmup
from grdnet_tf.serving.convert import graphs, tensorrt
from grdnet_tf.serving.folding import inference_half
from grdnet_tf.serving.signatures import write_saved_model

SIZE = (16, 16)
THRESHOLDS = {"image": {"value": 0.3}}
SMALL = dict(widths=(4, 8), latent=4, blocks=1, discriminator_widths=(4,), segmenter_widths=(4, 8), score_pool=5)
NETWORKS = {  # every kind of layer that a configuration can bring into the inference half
    "crae": dict(bottleneck="crae", stem=4, segmenter_stride=1),
    "drae": dict(bottleneck="drae", stem=0, segmenter_stride=2, segmenter_difference=True),
    "vanilla": dict(bottleneck="crae", stem=0, segmenter_stride=2, residual=False),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Function from a name in NETWORKS to the folder of its SavedModel, written once."""
    written = {}

    def write(name):
        if name not in written:
            written[name] = str(tmp_path_factory.mktemp(name) / "model")
            model = inference_half(GRDNet(SIZE, 3, **SMALL, **NETWORKS[name]))
            write_saved_model(written[name], model, THRESHOLDS, (1, 4))
        return written[name]

    return write


def graph_of(function, *specs):
    """GraphDef of a Python function, its library included."""
    return tf.function(function, input_signature=specs).get_concrete_function().graph.as_graph_def()


IMAGES = tf.TensorSpec((2, 4, 4, 3), tf.float32)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name == "vanilla" else ())
                                  for name in NETWORKS])
def test_fixed_size_signatures_hold_nothing_but_what_tf_trt_converts(saved, name):
    for signature, batch in (("static_b1", 1), ("static_b4", 4)):
        graph = graphs.frozen(saved(name), signature).graph_def
        assert tensorrt.unconvertible(graph) == []
        operations = [node.op for node in graphs.nodes(graph)]
        assert operations.count("Conv2D") > 10 and "Shape" not in operations  # the whole network, its sizes known
        placeholder = next(node for node in graph.node if node.op == "Placeholder")
        assert [d.size for d in placeholder.attr["shape"].shape.dim] == [batch, *SIZE, 3]


def test_the_library_of_the_saved_graph_holds_only_convertible_operations_too(saved):
    """As it is stored, before constants are folded: the names, and what holds variables and functions together."""
    definition = tf.saved_model.load(saved("crae")).signatures["static_b1"].graph.as_graph_def()
    assert definition.library.function
    names = {node.op for node in graphs.nodes(definition)}
    assert names - tensorrt.CONVERTIBLE <= {"PartitionedCall", "StatefulPartitionedCall"}


@pytest.mark.parametrize("function, said", [
    (lambda x: tf.broadcast_to(x[:1], (5, 4, 4, 3)), "BroadcastTo"),
    (lambda x: tf.reduce_all(x > 0, axis=[1, 2, 3]), "All"),
    (lambda x: tf.where(tf.math.is_finite(x), x, 0.0), "IsFinite"),
    (lambda x: x[:, :, None], "adds an axis"),
    (lambda x: tf.cast(x > 0, tf.int32), "only float16 to float32"),
    (lambda x: tf.numpy_function(np.sum, [x], tf.float32), "PyFunc"),
    (lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:1], [-1]], 0)), "Reshape (Reshape): input 1 is not constant"),
])
def test_what_tf_trt_cannot_convert_is_named(function, said):
    assert said in "\n".join(tensorrt.unconvertible(graph_of(function, IMAGES)))


def test_what_is_within_a_function_of_the_library_is_seen():
    inner = tf.function(lambda x: tf.math.is_finite(x))
    found = tensorrt.unconvertible(graph_of(lambda x: inner(x), IMAGES))
    assert any(line.startswith("IsFinite") for line in found)


def test_freezing_and_folding_change_no_answer(saved):
    images = np.random.default_rng(0).random((4, *SIZE, 3), np.float32)
    images[1, 2, 3] = np.nan
    expected = tf.saved_model.load(saved("drae")).signatures["static_b4"](images=tf.constant(images))
    found = graphs.frozen(saved("drae"), "static_b4")
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.import_graph_def(found.graph_def, name="")
        answer = session.run(found.outputs, {found.inputs["images"]: images})
    assert set(answer) == set(expected) == {"score", "is_anomalous", "verdict", "anomaly_map"}
    for name, value in answer.items():
        np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-6)
    assert answer["is_anomalous"][1] == 1 and np.isfinite(answer["score"]).all()


def test_without_tensorrt_one_line_says_what_has_it():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU is here: TF-TRT may well work")
    with pytest.raises(InputError) as error:
        tensorrt.require()
    line = str(error.value)
    assert "\n" not in line and "--format onnx" in line and "trtexec" in line
    built = tf.sysconfig.get_build_info()["is_tensorrt_build"]
    assert ("libnvinfer.so.8" in line) if built else ("2.17" in line and tf.__version__ in line)


class Recorder:
    """Stands for TensorFlow's converter, which cannot be made without a GPU; takes only what the true one takes.

    What it saves is the SavedModel that it was given.
    """

    def __init__(self, real, calls, operation="TRTEngineOp"):
        self.real, self.calls, self.operation = real, calls, operation

    def __call__(self, *args, **options):
        self._record("__init__", (None, *args), options)
        return self

    def _record(self, name, args, options):
        bound = inspect.signature(getattr(self.real, name)).bind(*args, **options)  # TypeError where it does not fit
        self.calls.append((name, {k: v for k, v in bound.arguments.items() if k != "self"}))

    def convert(self, *args, **options):
        self._record("convert", (None, *args), options)
        with tf.Graph().as_default() as graph:
            tf.identity(tf.compat.v1.placeholder(tf.float32), name="out")
        definition = graph.as_graph_def()
        definition.node[1].op = self.operation
        return type("Converted", (), {"graph": type("Graph", (), {"as_graph_def": lambda self: definition})()})()

    def build(self, *args, **options):
        self._record("build", (None, *args), options)

    def save(self, *args, **options):
        self._record("save", (None, *args), options)
        made, saved = self.calls[-4][1], self.calls[-1][1]
        shutil.copytree(made["input_saved_model_dir"], saved["output_saved_model_dir"], dirs_exist_ok=True)


@pytest.fixture
def recorded(monkeypatch):
    from tensorflow.python.compiler.tensorrt import trt_convert

    recorder = Recorder(trt_convert.TrtGraphConverterV2, [])
    monkeypatch.setattr(trt_convert, "TrtGraphConverterV2", recorder)
    return recorder


def test_conversion_calls_tensorflow_in_order_with_every_parameter(saved, recorded, tmp_path):
    report = tensorrt.convert(saved("crae"), str(tmp_path / "out"), 4, "fp16")
    assert [name for name, _ in recorded.calls] == ["__init__", "convert", "build", "save"]
    made, converted, built, stored = (arguments for _, arguments in recorded.calls)
    assert made == dict(input_saved_model_dir=saved("crae"), input_saved_model_signature_key="static_b4",
                        use_dynamic_shape=True, dynamic_shape_profile_strategy="Optimal", precision_mode="FP16",
                        max_workspace_size_bytes=1 << 30, minimum_segment_size=3, use_calibration=False,
                        allow_build_at_runtime=False)
    assert converted["calibration_input_fn"] is None  # TensorFlow refuses one where none is needed
    examples = list(built["input_fn"]())
    assert [example["images"].shape.as_list() for example in examples] == [[4, *SIZE, 3]]
    assert stored == {"output_saved_model_dir": str(tmp_path / "out"), "save_gpu_specific_engines": True}
    assert report == {"engines": 1, "operations_left": []}


def test_int8_is_calibrated_on_whole_batches_of_the_good_pictures(saved, recorded, tmp_path):
    pictures = np.random.default_rng(0).random((10, *SIZE, 3), np.float32)
    tensorrt.convert(saved("crae"), str(tmp_path / "out"), 4, "int8", pictures)
    made, converted = recorded.calls[0][1], recorded.calls[1][1]
    assert made["precision_mode"] == "INT8" and made["use_calibration"]
    batches = [batch["images"].numpy() for batch in converted["calibration_input_fn"]()]
    np.testing.assert_array_equal(np.concatenate(batches), pictures[:8])  # all of one shape: the last two are left out


def test_int8_needs_a_whole_batch_of_pictures(saved, recorded, tmp_path):
    with pytest.raises(InputError, match="3 good pictures do not fill a batch of 4"):
        tensorrt.convert(saved("crae"), str(tmp_path / "out"), 4, "int8", np.zeros((3, *SIZE, 3), np.float32))
    assert not recorded.calls


def test_a_conversion_without_an_engine_is_no_success(saved, recorded, tmp_path):
    recorded.operation = "Identity"
    with pytest.raises(ExportStopped, match="no part of the graph became a TensorRT engine"):
        tensorrt.convert(saved("crae"), str(tmp_path / "out"), 1)


@pytest.mark.slow
def test_engines_are_published_with_warmup_and_named_to_the_server(recorded, tmp_path):
    model = GRDNet(SIZE, 3, **SMALL, **NETWORKS["crae"])
    options = export.Options(batch_sizes=(1, 4), formats=("tftrt",))
    finals = export.export(model, THRESHOLDS, str(tmp_path), "vials", 5, options)
    assert finals == [str(tmp_path / name / "5") for name in ("vials", "vials_tftrt_b1", "vials_tftrt_b4")]
    assert publish.verify(finals[2])["tftrt"]["engines"] == 1
    for batch, final in ((1, finals[1]), (4, finals[2])):
        record, = (each.numpy() for each in tf.data.TFRecordDataset(os.path.join(final, warmup.FILE)))
        images = np.zeros((batch, *SIZE, 3), np.float32)
        head = client.message(1, f"vials_tftrt_b{batch}".encode())  # of the ModelSpec
        assert head in record and f"static_b{batch}".encode() in record and len(record) > images.nbytes
    models = (tmp_path / "serving" / "models.config").read_text()
    assert [f'name: "vials{more}"' in models for more in ("", "_tftrt_b1", "_tftrt_b4")] == [True] * 3


def test_the_parameters_are_such_as_tensorflow_accepts():
    from tensorflow.python.compiler.tensorrt import trt_convert

    for precision in ("fp32", "fp16", "int8"):
        assert precision.upper() in trt_convert.TrtPrecisionMode.supported_precision_modes()
    assert "Optimal" in trt_convert.supported_profile_strategies()
