"""The detector's stream without a trained model: order, bounded memory, one bad picture among good ones."""
import cv2
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.data import aligning
from grdnet_tf.data.drawings import Shape
from grdnet_tf.data.roi import Region
from grdnet_tf.errors import InputError
from grdnet_tf.evaluation.predict import Predictor
from grdnet_tf.inspection import engines, sources
from grdnet_tf.inspection.detector import Detector
from grdnet_tf.model.grdnet import Detection
from grdnet_tf.options import Station


class Brightness:
    """A detector whose map is the picture's own brightness."""
    image_size, channels, score_pool, total_stride, one_size, name = (8, 8), 3, 1, 1, False, "brightness"

    def __call__(self, images, roi=None, training=False):
        return Detection(None, images[..., :1], tf.reduce_max(images[..., :1], [1, 2, 3]))


def detector(batch=4, white=0, roi=None, model=Brightness(), **station):
    station = Station(**station)
    thresholds = {"image": {"value": 0.5}, "pixel": {"value": 0.5}}
    predictor = Predictor(model, batch, station.tiles, white)
    return Detector(engines.Engine(predictor, thresholds, white, station, roi, roi is not None, "brightness"))


def picture(level, size=(16, 24), spot=None):
    pixels = np.full((*size, 3), level, np.uint8)
    if spot:
        pixels[spot] = 255
    return pixels


def test_results_come_in_order_and_no_more_is_read_than_fits():
    read = []

    def items():
        for number in range(100):
            read.append(number)
            yield sources.Item(f"{number}", f"{number}", picture(number))

    for number, result in enumerate(detector().stream(items(), ahead=2)):
        assert result.path == str(number) and result.score == pytest.approx(number / 255, abs=1e-6)
        assert len(read) <= number + 1 + 2 * 4
    assert len(read) == 100


def test_at_a_pause_what_waits_is_judged():
    def items():
        yield sources.Item("a", "a", picture(10))
        yield None
        assert seen == ["a"]
        yield sources.Item("b", "b", picture(10))

    seen = []
    for result in detector().stream(items()):
        seen.append(result.path)
    assert seen == ["a", "b"]


def test_a_region_in_pixels_of_the_file_and_in_um():
    result, = detector(um_per_pixel=10.0).predict(picture(0, spot=np.s_[4:8, 12:18]))
    region, = result.regions
    assert result.verdict == "rejected" and region.box == (4, 12, 8, 18) and region.area == 24
    assert (region.area_um2, result.as_dict()["regions"][0]["box_um"]["right"]) == (2400.0, 180.0)


def test_tiles_see_the_picture_at_its_own_size():
    pixels = picture(0, (20, 30), np.s_[10:11, 20:21])
    small, = detector().predict(pixels)
    tiled, = detector(tiles=(8, 2)).predict(pixels)
    assert small.score < 0.5 < tiled.score and tiled.small_map.shape == (20, 30)
    assert [region.box for region in tiled.regions] == [(10, 20, 11, 21)]


def test_a_region_that_is_too_small_counts_nowhere():
    pixels = np.maximum(picture(0, (8, 8), np.s_[1:3, 1:3]), picture(0, (8, 8), np.s_[5:6, 5:7]))
    results = {area: detector(min_area=area).predict(pixels)[0] for area in (1, 3, 5)}
    assert [len(results[area].regions) for area in (1, 3, 5)] == [2, 1, 0]
    assert [results[area].verdict for area in (1, 3, 5)] == ["rejected", "rejected", "accepted"]
    assert results[5].score == 0 and results[1].score == 1


def test_a_region_that_leaves_nothing_to_look_at_accepts_nothing(tmp_path):
    for name, box in (("black", (0, 0)), ("corner", (0, 4))):
        region = np.zeros((16, 24), np.uint8)
        region[:box[1], :box[1]] = 255
        cv2.imwrite(str(tmp_path / f"{name}.png"), region)
    beside = Region("roi.json", (Shape("box", (34, 34, 60, 60)),))  # drawn on larger pictures, in pixels
    for roi in (str(tmp_path / "black.png"), beside):
        result, = detector(roi=roi).predict(picture(255))
        assert result.verdict == "unreadable" and "the ROI is empty in this picture" in result.reason
    assert detector(roi=str(tmp_path / "corner.png")).predict(picture(255))[0].verdict == "rejected"


def test_white_is_that_of_the_run_for_what_a_camera_wrote(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), 1023, np.uint16))
    model = detector(white=4095)
    assert model.predict(str(tmp_path / "a.png"))[0].score == pytest.approx(1023 / 4095, abs=1e-4)
    assert model.predict(np.full((8, 8, 3), 1023, np.uint16))[0].score == pytest.approx(1023 / 4095, abs=1e-4)
    assert model.predict(np.full((8, 8, 3), 0.25, np.float32))[0].score == pytest.approx(0.25, abs=1e-4)
    assert model.predict(np.full((8, 8, 3), 51, np.uint8))[0].score == pytest.approx(0.2, abs=1e-4)


def test_numbers_of_few_bits_are_as_good():
    deep = (np.arange(64).reshape(8, 8, 1) * 60 / 4095).astype(np.float16)
    item, = sources.given([deep])
    assert item.pixels.dtype == np.uint16 and item.pixels.max() == np.rint(np.float32(deep.max()) * 65535)


@pytest.mark.parametrize("channels, colour, verdict", [(1, (90, 90, 90), "accepted"), (1, (200, 40, 40), "unreadable"),
                                                       (3, (90, 90, 90), "accepted")])
def test_a_grey_cameras_frames_are_grey(channels, colour, verdict, tmp_path):
    """OpenCV gives three channels of them, which a model of grey pictures does not take."""
    class Own(Brightness):
        pass

    Own.channels = channels
    writer = cv2.VideoWriter(str(tmp_path / "line.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 64))
    writer.write(np.full((64, 64, 3), colour, np.uint8))
    writer.release()
    result, = detector(model=Own()).stream(sources.video(str(tmp_path / "line.avi")))
    assert result.verdict == verdict
    assert verdict == "unreadable" or result.score == pytest.approx(90 / 255, abs=2 / 255)


def test_what_opencv_cannot_turn_ends_no_stream():
    """Some versions turn no picture of more than 32,767 pixels a side."""
    nails = [np.full((60, 200, 3), 220, np.uint8) for _ in range(4)]
    for i, nail in enumerate(nails):
        nail[25:32, 40:140] = nail[20:37, 40:52] = 60 + i
    turned = detector()
    turned.engine = turned.engine._replace(align=aligning.learn(nails, lambda one: one, side=64))
    wide = np.full((60, 33_000, 3), 220, np.uint8)
    wide[:, :200] = nails[0]
    first, second = turned.stream([sources.Item("wide", "wide", wide), sources.Item("usual", "usual", nails[1])])
    assert first.verdict != "accepted" and second.verdict != "unreadable"


@pytest.mark.parametrize("array, words", [
    (np.zeros((4, 4, 2), np.uint8), "shape"), (np.full((4, 4, 3), np.nan), "outside"),
    (np.zeros((4, 4), np.int32), "int32")])
def test_arrays_that_are_no_pictures(array, words):
    with pytest.raises(InputError, match=words):
        detector().predict([array])


def test_a_stream_can_be_closed_before_its_end():
    stream = detector().stream(sources.Item(str(n), str(n), picture(n)) for n in range(50))
    assert next(stream).path == "0"
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
