"""Real defects as a source of the noise: cut by their mask, laid anywhere, turned by quarters, the same everywhere."""
import os

import cv2
import numpy as np
import pytest
import tensorflow as tf
from noise import ALWAYS, pictures, seeds

from grdnet_tf.data import pieces, selection
from grdnet_tf.defects import real as reals
from grdnet_tf.defects.perturb import perturb
from grdnet_tf.errors import InputError
from grdnet_tf.options import Data

SETTINGS = ALWAYS.replace(sources={"real": 1.0}, opacity=(1.0, 1.0))
MARK = np.array([[10, 20, 30], [0, 40, 50]], np.uint8)  # tells all eight ways to lie apart; its 0 is not in the mask


def mark(dtype=np.uint8):
    """One piece of 5 x 5: `MARK` in its middle, grey 200 around it."""
    piece = np.full((1, 5, 5, 2), 200, np.uint8)
    piece[..., 1] = 0
    piece[0, 1:3, 1:4, 0], piece[0, 1:3, 1:4, 1] = MARK, 255 * (MARK > 0)
    return piece.astype(dtype) * (np.iinfo(dtype).max // 255)


def found(noisy, mask):
    """Of each picture the box around its mask with the values there, 0 outside of the mask; 8 bit."""
    for one, inside in zip(np.rint(np.asarray(noisy)[..., 0] * 255).astype(int), np.asarray(mask)[..., 0] > 0):
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        yield np.where(inside, one, 0)[box].tolist()


def test_a_piece_is_pasted_whole_in_all_eight_ways():
    image = np.full((120, 24, 20, 1), 0.9, np.float32)
    roi = np.zeros_like(image)
    roi[:, 6:18, 6:14] = 1  # away from the border, so that none is cut
    done = perturb(image, roi, seeds(120), SETTINGS.replace(within_roi=1.0), real=mark())
    assert np.array_equal(np.where(done.mask == 0, done.noisy, 0), np.where(done.mask == 0, image, 0))
    whole = [one for one, inside in zip(found(done.noisy, done.mask), done.mask) if inside.numpy().sum() == 5]
    ways = [np.rot90(mirrored, turns).tolist() for mirrored in (MARK, MARK[:, ::-1]) for turns in range(4)]
    assert len(whole) > 60 and all(one in ways for one in whole) and all(way in whole for way in ways)
    assert not np.any((done.mask > 0) & (roi == 0))


def test_places_are_everywhere():
    _, inside = reals.pasted(tf.constant(mark()), tf.random.stateless_uniform((4000, 8), (1, 2)), None, 8, 8)
    share = inside.numpy().mean((0, 3))
    assert share.min() > 0.5 * share.mean() and share[2:6, 2:6].std() < 0.15 * share.mean()


def test_the_same_in_eager_mode_a_graph_tf_data_and_xla():
    image, seed = pictures(channels=1), seeds(6)
    settings, real = SETTINGS.replace(defects=2, blurred=0.5, opacity=(0.5, 1.0)), tf.constant(mark())
    settings = settings.replace(sources={"real": 2.0, "shade": 1.0})

    def run(image, seed):
        return perturb(image, None, seed, settings, real=real)

    eager = run(image, seed)
    data = tf.data.Dataset.from_tensors((image, seed)).map(run)
    compiled = tf.function(run, jit_compile=True)(tf.constant(image), tf.constant(seed))
    alone = run(image[2:3], seed[2:3])
    for other, rows in ((next(iter(data)), np.s_[:]), (compiled, np.s_[:]), (alone, np.s_[2:3])):
        np.testing.assert_array_equal(other.mask, eager.mask[rows])
        np.testing.assert_allclose(other.noisy, eager.noisy[rows], atol=1e-6)
    assert eager.mask.numpy().sum() > 10
    finer = perturb(image, None, seed, settings, real=mark(np.uint16))
    np.testing.assert_allclose(finer.noisy, eager.noisy, atol=1e-6)


def test_without_pieces_it_is_refused():
    with pytest.raises(InputError, match="'real' needs pieces of real defects"):
        perturb(pictures(), None, seeds(6), SETTINGS)


# From a folder --------------------------------------------------------------------------------------------------------


def write(path, pixels):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    cv2.imwrite(str(path), pixels)


@pytest.fixture
def folder(tmp_path):
    """Two grey pictures of 20 x 30 with a defect of 4 x 3 and of 8 x 8 pixels, in the corner."""
    for name, box in (("crack/0", np.s_[5:9, 10:13]), ("stain/1", np.s_[12:20, 22:30])):
        picture, mask = np.full((20, 30), 100, np.uint8), np.zeros((20, 30), np.uint8)
        picture[box] = 7 + int(name[-1])
        mask[box] = 255
        write(tmp_path / "test" / f"{name}.png", picture)
        write(tmp_path / "ground_truth" / f"{name}_mask.png", mask)
    write(tmp_path / "test" / "good" / "2.png", np.full((20, 30), 100, np.uint8))
    return tmp_path


def test_pieces_are_cut_from_a_folder(folder):
    records = selection.real_defects(str(folder), Data(channels="1"))
    assert [record.defect for record in records] == ["crack", "stain"]
    cut = pieces.load(records, (20, 30), 1, 8)
    assert cut.shape == (2, 11, 11, 2) and cut.dtype == np.uint8  # 8 and a margin of 3 on the side that has one
    for piece, value, area in zip(cut, (7, 8), (12, 64)):
        inside = piece[..., 1] == 255
        assert inside.sum() == area and (piece[..., 0][inside] == value).all() and (piece[..., 0][~inside] == 100).sum()
    assert (cut[0, ..., 0][cut[0, ..., 1] == 0] == 100).all()  # beyond its margin a piece goes on
    assert pieces.load(records, (20, 30), 1, 16).dtype == np.uint16


def test_a_folder_without_masks_or_defects_is_named(folder, tmp_path):
    os.rename(folder / "ground_truth" / "stain", folder / "kept")
    with pytest.raises(InputError, match="stain.*1.png has no mask, expected .*ground_truth.stain"):
        selection.real_defects(str(folder), Data(channels="1"))
    write(tmp_path / "none" / "test" / "good" / "2.png", np.full((20, 30), 100, np.uint8))
    with pytest.raises(InputError, match=r"noise.real = .*none: no defects, expected test/<defect>/"):
        selection.real_defects(str(tmp_path / "none"), Data(channels="1"))
    with pytest.raises(InputError, match="nothing.*test: folder not found"):
        selection.real_defects(str(tmp_path / "nothing"), Data(channels="1"))
