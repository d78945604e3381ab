"""The SavedModel as a server has it, through the v1 Session loader: names, types, parity with Keras."""
import cv2
import numpy as np
import pytest
import tensorflow as tf
from small_served import SIZE, files

from grdnet_tf.evaluation import regions
from grdnet_tf.serving import export, folding, selftest, signatures

IMAGE = (None, *SIZE, 3)
GOLDEN = {  # what clients are written against: a change here breaks them
    "serving_default": ({"images": ("float32", IMAGE)}, ["score", "is_anomalous", "verdict", "anomaly_map"]),
    "serve_uint8": ({"images": ("uint8", IMAGE)}, ["score", "is_anomalous", "verdict", "anomaly_map"]),
    "score": ({"images": ("float32", IMAGE)}, ["score", "is_anomalous", "verdict"]),
    "serve_roi": ({"images": ("float32", IMAGE), "roi": ("float32", (None, *SIZE, 1))},
                  ["score", "is_anomalous", "verdict", "anomaly_map", "valid"]),
    "serve_bytes": ({"image_bytes": ("string", (None,))}, ["score", "is_anomalous", "verdict", "anomaly_map", "valid"]),
    "serve_bytes_roi": ({"image_bytes": ("string", (None,)), "roi_bytes": ("string", (None,))},
                        ["score", "is_anomalous", "verdict", "anomaly_map", "valid"]),
    "serve_bytes_map": ({"image_bytes": ("string", (None,))}, ["score", "is_anomalous", "verdict", "valid", "overlay_bytes"]),
    "serve_regions": ({"image_bytes": ("string", (None,))}, ["score", "is_anomalous", "verdict", "valid", "regions"]),
    "serve_reconstruction": ({"images": ("float32", IMAGE)}, ["score", "is_anomalous", "verdict", "reconstruction"]),
    "static_b1": ({"images": ("float32", (1, *SIZE, 3))}, ["score", "is_anomalous", "verdict", "anomaly_map"]),
    "static_b4": ({"images": ("float32", (4, *SIZE, 3))}, ["score", "is_anomalous", "verdict", "anomaly_map"]),
}
OUTPUTS = {"score": ("float32", ()), "is_anomalous": ("int32", ()), "verdict": ("int32", ()), "valid": ("int32", ()),
           "overlay_bytes": ("string", ()), "anomaly_map": ("float32", (*SIZE, 1)),
           "regions": ("float32", (16, 6)), "reconstruction": ("float32", (*SIZE, 3))}


def plain(tensor):
    sides = [side.size for side in tensor.tensor_shape.dim]
    return tf.as_dtype(tensor.dtype).name, tuple(None if side < 0 else side for side in sides)


def test_signatures_are_the_stored_ones(served):
    assert served.names() == sorted(GOLDEN)
    for name, (inputs, outputs) in GOLDEN.items():
        definition = served.definitions[name]
        batch = next(iter(inputs.values()))[1][0]
        assert {key: plain(tensor) for key, tensor in definition.inputs.items()} == inputs, name
        wanted = {key: (OUTPUTS[key][0], (batch, *OUTPUTS[key][1])) for key in outputs}
        assert {key: plain(tensor) for key, tensor in definition.outputs.items()} == wanted, name


def test_weights_are_stored_once_and_nothing_that_trains(folder, model):
    parts = model.generator.encoder, model.generator.decoder, model.segmenter
    needed = sum(int(np.prod(weight.shape)) for part in parts for weight in part.weights
                 if not any(key in weight.name for key in ("gamma", "moving")))
    assert needed <= export.stored_numbers(folder) <= 1.01 * needed  # a folded bias is where beta was


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_every_signature_answers_as_keras(served, model, pictures, thresholds, name):
    shown, roi = pictures
    given = {"images": shown if name == "serve_uint8" else shown / np.float32(255), "roi": roi,
             "image_bytes": files(shown), "roi_bytes": files(roi.astype(np.uint8))}  # a ROI of 1, not of 255
    inputs = {key: given[key][:1] if name == "static_b1" else given[key] for key in GOLDEN[name][0]}
    found = served.run(name, **inputs)
    inside = "roi" in name
    expected = model(shown / np.float32(255), roi=roi if inside else None)
    rows = len(found["score"])
    assert rows == (1 if name == "static_b1" else 4)
    np.testing.assert_allclose(found["score"], expected.score[:rows], atol=1e-5)
    rejected = expected.score.numpy() > thresholds["image_roi" if inside else "image"]["value"]
    assert rejected.sum() == 2
    np.testing.assert_array_equal(found["is_anomalous"], rejected[:rows])
    doubtful = expected.score.numpy() > thresholds["look_roi" if inside else "look"]["value"]
    assert doubtful.sum() == 3
    np.testing.assert_array_equal(found["verdict"], (rejected * 1 + doubtful)[:rows])
    if "reconstruction" in found:
        np.testing.assert_allclose(found["reconstruction"], expected.reconstruction[:rows], atol=1e-5)
    if "anomaly_map" in found:
        np.testing.assert_allclose(found["anomaly_map"], expected.anomaly_map[:rows], atol=1e-5)
    if "valid" in found:
        assert found["valid"].tolist() == [1] * rows


def test_regions_are_those_of_the_evaluation_and_not_of_accepted_pictures(served, model, pictures, thresholds):
    """Without a threshold of pixels that of pictures makes them."""
    shown, level = pictures[0], thresholds["image"]["value"]
    found = served.run("serve_regions", image_bytes=files(shown))
    maps, sizes = model(shown / np.float32(255)).anomaly_map.numpy()[..., 0], np.float32([*SIZE, *SIZE])
    assert sorted(found["verdict"]) == [0, 1, 2, 2]
    for rows, amap, verdict in zip(found["regions"], maps, found["verdict"]):
        wanted = regions.describe(regions.connected(amap > level), amap) if verdict else []
        assert wanted or verdict < 2
        np.testing.assert_allclose(rows[:len(wanted), :4] * sizes, [one.box for one in wanted[:16]] or np.empty((0, 4)))
        assert rows[:len(wanted), 4].tolist() == [one.area for one in wanted[:16]] and not rows[len(wanted):].any()
        np.testing.assert_allclose(rows[:len(wanted), 5], [one.peak for one in wanted[:16]], atol=1e-5)
    broken = served.run("serve_regions", image_bytes=np.array([b"no picture"], object))
    assert (broken["valid"], broken["verdict"], broken["regions"].any()) == (0, 2, False)


def test_another_signature_can_be_the_default(model, thresholds, pictures):
    offered = signatures.signatures(folding.inference_half(model), thresholds, (), default="serve_regions")
    plain = signatures.signatures(folding.inference_half(model), thresholds, ())
    assert offered["serving_default"] == offered["serve_regions"] and offered.keys() - plain.keys() == {"serve_float"}
    shown = tf.constant(pictures[0] / np.float32(255))
    for name, value in offered["serve_float"].function(shown).items():
        np.testing.assert_array_equal(value, plain["serving_default"].function(shown)[name])


def test_the_overlay_is_the_picture_under_the_map(served, model, pictures):
    shown = pictures[0]
    found = served.run("serve_bytes_map", image_bytes=files(shown))["overlay_bytes"]
    for file, picture, amap in zip(found, shown, model(shown / np.float32(255)).anomaly_map.numpy()):
        overlay = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        heat = cv2.applyColorMap((amap * 255 + 0.5).astype(np.uint8), cv2.COLORMAP_JET)
        wanted = cv2.addWeighted(np.ascontiguousarray(picture[..., ::-1]), 0.55, heat, 0.45, 0)
        assert cv2.absdiff(overlay, wanted).max() <= 3  # a map of another last bit may be one step of colour away


def test_sizes_and_formats_mixed_in_one_batch(served, pictures):
    picture = pictures[0][0]
    larger = cv2.resize(picture, (2 * SIZE[1], 2 * SIZE[0]), interpolation=cv2.INTER_NEAREST)
    deep = cv2.imencode(".png", picture[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    bmp, jpeg = (cv2.imencode(kind, picture[..., ::-1])[1].tobytes() for kind in (".bmp", ".jpg"))
    contents = np.array([selftest.encode(picture), deep, bmp, jpeg, selftest.encode(larger)], object)
    found = served.run("serve_bytes", image_bytes=contents)
    assert found["valid"].tolist() == [1] * 5
    np.testing.assert_allclose(found["score"][1:3], found["score"][0], atol=1e-5)  # 16 bit and BMP: the same picture
    assert np.abs(found["score"][3:] - found["score"][0]).max() < 0.05


def test_a_threshold_between_two_float32_decides_as_in_double():
    rng = np.random.default_rng(0)
    for value in rng.random(200):
        low = signatures.decision_threshold(value)
        for score in (np.nextafter(np.float32(value), np.float32(0)), np.float32(value),
                      np.nextafter(np.float32(value), np.float32(1))):
            assert (score > low) == (float(score) > value)
