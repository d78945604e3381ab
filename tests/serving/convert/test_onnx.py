"""The ONNX form of an exported model: the SavedModel's answers for any batch, broken pictures too, three precisions."""
import shlex

import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.errors import ExportStopped, InputError
from grdnet_tf.evaluation.measure import Least
from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.serving import selftest
from grdnet_tf.serving.convert import onnx as onnx_export, onnx_precision
from grdnet_tf.serving.folding import inference_half
from grdnet_tf.serving.signatures import Station, write_saved_model

for package in onnx_export.PACKAGES:
    pytest.importorskip(package, reason="the ONNX export needs its extra: pip install '.[onnx]'")
import onnx  # noqa: E402: an extra

SIZE = (16, 24)  # unequal, so that no two sides can be confused
SMALL = dict(widths=(4, 8), latent=4, blocks=1, discriminator_widths=(4,), segmenter_widths=(4, 8), score_pool=5)
NETWORKS = {
    "crae": dict(bottleneck="crae", stem=4, segmenter_stride=1),
    "drae": dict(bottleneck="drae", stem=0, segmenter_stride=2, segmenter_difference=True),
}
LOOK, THRESHOLD = 0.22, 0.25


@pytest.fixture(scope="module", params=["crae", pytest.param("drae", marks=pytest.mark.slow)])
def exported(request, tmp_path_factory):
    """(folder of the SavedModel, path of its fp32 ONNX form, the report)."""
    keras = tf.keras
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    model = GRDNet(SIZE, 3, **SMALL, **NETWORKS[request.param])
    for weight in model.segmenter.mark.trainable_weights:  # an untrained map is flat: give it contrast
        weight.assign(weight * 30.0 if len(weight.shape) > 1 else tf.zeros_like(weight) - 1.0)
    saved = str(folder / "model")
    write_saved_model(saved, inference_half(model), {"image": {"value": THRESHOLD}, "look": {"value": LOOK}}, (1,))
    path = str(folder / "onnx" / "model.onnx")
    return saved, path, onnx_export.write(saved, path)


@pytest.mark.slow
def test_the_least_area_is_in_the_onnx_file_too(tmp_path):
    tf.keras.utils.set_random_seed(1)
    half = inference_half(GRDNet(SIZE, 3, **SMALL, **NETWORKS["crae"]))
    images = np.random.default_rng(3).random((5, *SIZE, 3), np.float32)
    plain = half(images)
    level = float(np.quantile(plain.anomaly_map, 0.8))
    found = {}
    for area in (1, 9):
        saved, path = str(tmp_path / f"{area}"), str(tmp_path / f"{area}.onnx")
        thresholds = {"image": {"value": 2.0}, "pixel": {"value": level}}
        write_saved_model(saved, half, thresholds, (), station=Station(None, area))
        onnx_export.write(saved, path)
        found[area] = onnx_export.Runtime(path).run(images)["score"]
    wanted = Least(9, level, level).scores(np.asarray(plain.anomaly_map), half.score_pool)
    np.testing.assert_allclose(found[1], plain.score, atol=1e-5)
    np.testing.assert_allclose(found[9], wanted, atol=1e-5)
    assert (found[9] < found[1] - 1e-3).any()


def pictures(count, seed=0):
    return np.random.default_rng(seed).random((count, *SIZE, 3), np.float32)


def saved_answers(saved, images):
    with selftest.Session(saved) as session:
        return session.run("serving_default", images=images)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_gives_the_answers_of_the_saved_model(exported, batch):
    saved, path, _ = exported
    images = pictures(batch, seed=batch)
    expected, found = saved_answers(saved, images), onnx_export.Runtime(path).run(images)
    assert set(found) == set(expected) == {"score", "is_anomalous", "verdict", "anomaly_map"}
    for name in found:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
    assert expected["anomaly_map"].std() > 0.05  # it has something to say
    np.testing.assert_array_equal(found["is_anomalous"], found["score"] > THRESHOLD)
    np.testing.assert_array_equal(found["verdict"], found["is_anomalous"] + (found["score"] > LOOK))


def test_a_broken_picture_is_anomalous_and_leaves_the_others_as_they_are(exported):
    runtime = onnx_export.Runtime(exported[1])
    images = pictures(4)
    sound = runtime.run(images)
    for value in (np.nan, np.inf, -np.inf, 7.0):
        images[2, 3, 4, 1] = value
        found = runtime.run(images)
        assert found["score"][2] == 1 and found["is_anomalous"][2] == 1 and (found["anomaly_map"][2] == 1).all()
        for name in found:
            np.testing.assert_array_equal(found[name][[0, 1, 3]], sound[name][[0, 1, 3]])


def test_the_file_says_what_goes_in_and_comes_out(exported):
    graph = onnx.load(exported[1]).graph
    shapes = {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
              for value in (*graph.input, *graph.output)}
    assert shapes == {"images": ["batch", *SIZE, 3], "score": ["batch"], "is_anomalous": ["batch"], "verdict": ["batch"],
                      "anomaly_map": ["batch", *SIZE, 1]}
    assert exported[2]["opset"] == 17 and 0 <= exported[2]["largest_difference"]["score"] <= 1e-4


def test_a_model_that_answers_something_else_is_refused(exported):
    saved, path, _ = exported
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 4 and values.dtype == np.float32 and values.shape[0] == 4:  # some convolutions of 4 channels
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(-values), tensor.name))
    with pytest.raises(ExportStopped, match="ONNX: .* differs by"):
        onnx_export.parity(saved, model)


def test_decisions_are_compared_but_for_scores_at_the_threshold(exported, monkeypatch):
    """The same scores under another threshold, of which they are on the other side: 2, or 0 if they are below."""
    saved, path, _ = exported
    scores = saved_answers(saved, selftest.test_pictures(*SIZE, 3)[0] / np.float32(255))["score"]
    assert np.abs(scores - THRESHOLD).min() > 0.01
    other = 2 if scores.max() > THRESHOLD else 0
    model = onnx.load(path)
    decisions = [node for node in model.graph.node if node.op_type == "Greater" and node.input[0] == "score"]
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    limits = {float(onnx.numpy_helper.to_array(values[node.input[1]])): values[node.input[1]] for node in decisions}
    assert set(limits) == {np.float32(LOOK), np.float32(THRESHOLD)}
    for limit, name in ((LOOK, "verdict"), (THRESHOLD, "is_anomalous")):
        value = limits[np.float32(limit)]
        value.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(value.dims), other, np.float32), value.name))
        for given in ((), (LOOK, THRESHOLD)):
            with pytest.raises(ExportStopped, match=f"ONNX: {name}"):
                onnx_export.parity(saved, model, given)
    monkeypatch.setattr(onnx_export, "TOLERANCE", float(np.ptp(scores)) + 1e-4)
    onnx_export.parity(saved, model, [float(scores.min())])  # all of them are beside it


def test_what_the_packages_raise_stops_the_export_in_one_line(exported, tmp_path):
    saved, path, _ = exported

    def stops(words, function, *arguments):
        with pytest.raises(ExportStopped, match=words) as stopped:
            function(*arguments)
        assert "\n" not in str(stopped.value)

    (tmp_path / "no.onnx").write_bytes(b"no model")
    stops("ONNX Runtime cannot load the model: .", onnx_export.Runtime, str(tmp_path / "no.onnx"))
    stops("ONNX Runtime cannot run the model: .", onnx_export.Runtime(path).run, pictures(1)[:, 1:])
    wrong_size = np.zeros((2, 8, 8, 3), np.float32)
    stops("ONNX: cannot be made int8: .", onnx_export.write, saved, str(tmp_path / "a" / "b.onnx"), "int8", wrong_size)
    assert not (tmp_path / "a").exists()


def test_half_precision_keeps_the_ends_in_float32_and_the_networks_in_float16(exported):
    model = onnx.load(exported[1])
    found = onnx_precision.half(model)
    onnx.checker.check_model(found)
    types = {tensor.name: tensor.data_type for tensor in found.graph.initializer}
    kernels = [types[node.input[1]] for node in found.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(kernels) > 10 and set(kernels) == {onnx.TensorProto.FLOAT16}
    ends = (*found.graph.input, *found.graph.output)
    assert onnx.TensorProto.FLOAT16 not in {value.type.tensor_type.elem_type for value in ends}
    compare(model, found, atol=0.01)


def test_int8_quantises_every_convolution_and_nothing_that_judges(exported):
    model = onnx.load(exported[1])
    found = onnx_precision.int8(model, pictures(20))
    onnx.checker.check_model(found)
    types = {tensor.name: tensor.data_type for tensor in found.graph.initializer}
    producer = {tensor: node for node in found.graph.node for tensor in node.output}
    kernels = [producer[node.input[1]] for node in found.graph.node if node.op_type in onnx_precision.QUANTISED]
    assert len(kernels) > 10 and {node.op_type for node in kernels} == {"DequantizeLinear"}
    assert {types[node.input[0]] for node in kernels} == {onnx.TensorProto.INT8}
    judged = {node.op_type for node in model.graph.node if node.name not in onnx_precision.networks(model.graph)}
    assert {"ReduceMax", "Greater", "Where"} <= judged and not judged & set(onnx_precision.QUANTISED)
    compare(model, found, atol=0.2)  # untrained, and of thirty times the contrast: the gate holds trained ones to less


def compare(model, lower, atol):
    """A lower precision differs, a little: by `atol` on average. One pixel of an untrained network may jump."""
    images = pictures(3, seed=5)
    expected, found = onnx_export.Runtime(model).run(images), onnx_export.Runtime(lower).run(images)
    assert 0 < np.abs(expected["anomaly_map"] - found["anomaly_map"]).mean() < atol
    assert np.abs(expected["score"] - found["score"]).max() < atol


def test_the_trtexec_line_names_file_shapes_and_types():
    line = onnx_export.trtexec("a/model.onnx", (256, 128), 3, (1, 8), "int8")
    assert line == ("trtexec --onnx=a/model.onnx --saveEngine=model.plan --minShapes=images:1x256x128x3 "
                    "--optShapes=images:8x256x128x3 --maxShapes=images:8x256x128x3 --int8 --fp16")
    line = onnx_export.trtexec("my parts/1/a.onnx", (8, 8), 1, (4,))
    assert line.endswith("--maxShapes=images:4x8x8x1") and "--onnx=my parts/1/a.onnx" in shlex.split(line)


def test_missing_packages_are_named(monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else real(name))
    with pytest.raises(InputError, match="missing packages: tf2onnx;.*requirements.txt"):
        onnx_export.require()
