"""What the inspection says of the range in use, soft masks, links and names."""
import os

import cv2
import numpy as np
import pytest

from grdnet_tf.data import check
from grdnet_tf.data.decoding import load_image
from grdnet_tf.data.records import inspect, list_mvtec
from grdnet_tf.errors import InputError, printable


def save(path, pixels):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(cv2.imencode(".png", pixels)[1].tobytes())


@pytest.fixture
def root(tmp_path):
    """Two 12 bit pictures in train/good and a defective one in test/spot with a soft mask, 16 x 16."""
    for i, high in enumerate((3000, 4000)):
        save(f"{tmp_path}/train/good/{i}.png", np.full((16, 16), high, np.uint16))
    save(f"{tmp_path}/test/spot/0.png", np.full((16, 16), 2000, np.uint16))
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9], mask[6:8, 6:8] = 90, 255
    save(f"{tmp_path}/ground_truth/spot/0_mask.png", mask)
    return str(tmp_path)


def test_the_range_in_use_is_found_and_warned_of(root):
    found = inspect(list_mvtec(root, "train"))
    assert (found.depth, found.peak) == (16, 4000)
    assert [note.endswith("set data.white, to 4095 for a camera of 12 bit") for note in found.notes] == [True]
    assert inspect(list_mvtec(root, "train"), white=4095).notes == []
    table = check.check(root, (16, 16))
    assert table.facts[1][table.facts[0].index("up to")] == "4000"
    assert any("0 to 4000" in line for line in table.warnings) and not table.errors


def test_pictures_of_8_bit_do_not_go_with_a_white_of_12(tmp_path):
    save(f"{tmp_path}/train/good/0.png", np.full((8, 8), 9, np.uint8))
    with pytest.raises(InputError, match="0.png: has 8 bit, but data.white is 4095"):
        inspect(list_mvtec(str(tmp_path), "train"), white=4095)


def test_soft_masks_are_one_note_a_folder(root):
    notes = inspect(list_mvtec(root, "test"), white=4095).notes
    assert len(notes) == 1 and notes[0].startswith(os.path.join(root, "ground_truth", "spot"))



def test_a_name_that_is_not_utf_8_is_listed_read_and_printed(root):
    name = os.fsencode(f"{root}/train/good/") + b"Stra\xdfe.png"
    os.rename(f"{root}/train/good/0.png", name)
    record = inspect(list_mvtec(root, "train")).records[-1]
    assert os.fsencode(record.image) == name
    assert load_image(record.image, (16, 16), 1).numpy().max() == np.float32(3000 / 65535)
    with open(name, "wb") as file:
        file.write(b"no picture")
    with pytest.raises(InputError) as error:
        inspect(list_mvtec(root, "train"))
    assert "Stra\\udcdfe.png: wrong extension" in str(error.value)
    str(error.value).encode("utf-8")
    assert printable("Straße") == "Straße"
