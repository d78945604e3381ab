"""Every kind of file by every reader: equal pixels, or refused by all.

The readers: `files` on the host (inspection), `load_image` and `load_mask` (training and evaluation read through the same
function) and the served graph. TIFF is the one format that the served graph, which has TensorFlow's operations only, always
refuses. Sizes are odd on purpose: 37 x 53."""
import numpy as np
import pytest
import tensorflow as tf
from picture_files import READ, REFUSED, SIZE, unit, write

from grdnet_tf.data import decoding, files
from grdnet_tf.errors import InputError


@pytest.mark.parametrize("name", READ)
def test_read_right_by_every_reader(name, tmp_path, served):
    contents, expected = READ[name]
    path, size = write(tmp_path, f"picture{name[-4:]}", contents), expected.shape[:2]
    found = files.read_picture(path)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(decoding.load_image(path, size, 3), unit(expected))
    answer = served[0](contents)
    if contents[:2] in (b"II", b"MM"):
        assert not tf.size(answer)
    else:
        np.testing.assert_array_equal(answer, unit(expected))


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_every_reader(name, tmp_path, served):
    path = write(tmp_path, f"picture{name[-4:]}", REFUSED[name])
    with pytest.raises(files.BadImage) as refusal:
        files.read_picture(path)
    assert str(refusal.value).startswith(path) and "\n" not in str(refusal.value)
    with pytest.raises(InputError) as error:
        decoding.load_image(path, SIZE, 3)
    assert str(error.value) == str(refusal.value)
    assert not tf.size(served[0](REFUSED[name]))


@pytest.mark.parametrize("name, words", [
    ("20000 squared.png", "20000 x 20000"), ("7000 squared.png", "66 bytes"), ("7000 squared.jpg", "7000 x 7000"),
    ("pages.tif", "several pages"), ("cmyk.jpg", "CMYK"), ("rgba.png", "alpha"), ("empty.png", "empty"),
    ("a hole of plain.jpg", "damaged"), ("float.tif", "32 bit"), ("a gif.png", "wrong extension")])
def test_the_reason_is_the_true_one(name, words, tmp_path):
    with pytest.raises(files.BadImage, match=words):
        files.read_picture(write(tmp_path, f"picture{name[-4:]}", REFUSED[name]))


@pytest.mark.parametrize("name", [name for name in REFUSED if not name.endswith(".tif")])
def test_nothing_is_printed_beside_our_line(name, tmp_path, capfd):
    """libjpeg and libpng within OpenCV would: "Corrupt JPEG data", "libpng error: IDAT: CRC error"."""
    with pytest.raises(files.BadImage):
        files.read_picture(write(tmp_path, f"picture{name[-4:]}", REFUSED[name]))
    assert capfd.readouterr() == ("", "")
