"""Held-out pictures: kept as integers within data.cache_gb, or read again; the same batches."""
import cv2
import numpy as np
import pytest

from grdnet_tf.config import load_config
from grdnet_tf.data import pipeline
from grdnet_tf.data.cache import gigabytes_kept
from grdnet_tf.data.records import Record
from grdnet_tf.options import Data
from grdnet_tf.training import building, prepare


@pytest.fixture
def records(tmp_path):
    """Three grey pictures of 16 x 24 in 16 bit, the second with a ROI."""
    rng, found = np.random.default_rng(5), []
    for i in range(3):
        path, roi = str(tmp_path / f"{i}.png"), str(tmp_path / f"{i}_roi.png")
        cv2.imwrite(path, rng.integers(0, 65536, (16, 24), dtype=np.uint16))
        cv2.imwrite(roi, np.pad(np.full((8, 12), 255, np.uint8), ((4, 4), (6, 6))))
        found.append(Record(path, None, roi if i == 1 else None, 0, "good"))
    return found


def batches(records, cache):
    dataset = pipeline.held_out_dataset(records, Data(image_size=(16, 24), cache=cache), channels=1, depth=16,
                                        batch_size=4, seed=3, views=7)
    return [{name: part.numpy() for name, part in batch.items()} for batch in dataset]


def test_kept_or_read_again_the_batches_are_the_same(records, caplog):
    """Seven views asked for are eight, whole batches: pictures 0 1 2 0, 1 2 0 1, each view with a seed of its own."""
    caplog.set_level("INFO")
    kept, read = batches(records, "ram"), batches(records, "none")
    assert "8 views of 3 held-out pictures" in caplog.text
    assert len(kept) == len(read) == 2
    for one, other in zip(kept, read):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    pictures = [cv2.imread(record.image, cv2.IMREAD_UNCHANGED) for record in records]
    shown = np.concatenate([batch["image"] for batch in kept])[..., 0]
    np.testing.assert_allclose(shown, np.stack([pictures[i] for i in (0, 1, 2, 0, 1, 2, 0, 1)]) / 65535, atol=1e-7)
    assert [int(batch["roi"][1].sum()) for batch in kept] == [8 * 12, 16 * 24]  # views 1 and 5: pictures 1 and 2
    seeds = np.concatenate([batch["seed"] for batch in kept])
    assert seeds[:, 1].tolist() == list(range(8)) and len(set(seeds[:, 0].tolist())) == 1


def test_what_pictures_take(records):
    """3 pictures of 16 * 24 pixels: 2 bytes each, and 1 of a ROI, as one of them has one: 3 * 384 * 3 bytes."""
    size = 3 * 384 * 3 / 1e9
    options = Data(image_size=(16, 24), cache_gb=1.5 * size)
    assert gigabytes_kept(records, options, 1, 16) == pytest.approx(size)
    assert gigabytes_kept(records, options, 1, 16, taken=size) == 0  # not both
    assert gigabytes_kept(records, options.replace(cache="ram"), 1, 16, taken=size) == pytest.approx(size)
    assert gigabytes_kept(records, options.replace(cache="none"), 1, 16) == 0
    assert gigabytes_kept([record._replace(roi=None) for record in records], options, 3, 8) == pytest.approx(size)


def test_both_sets_share_one_budget(discs, tiny_config, caplog):
    """15 pictures of 16 x 16 x 3, of which 3 are held out: 2304 bytes, and 9216 for the others."""
    caplog.set_level("INFO")
    said = {}
    for room in (2304 + 9216, 9216):
        config = load_config(tiny_config, [f"data.root={discs}", "data.channels='3'", f"data.cache_gb={room / 1e9}",
                                           "train.deterministic=false"])
        found, model = prepare.training_data(config), building.build_model(config)
        building.compile_model(model, config, found)
        caplog.clear()
        building.held_out_set(model, config, found)
        building.training_stream(model, config, found).batches()
        said[room] = [line for line in caplog.text.splitlines() if "GB decoded" in line]
    assert ["kept in RAM" in line for line in said[2304 + 9216]] == [True, True]
    assert ["kept in RAM" in line for line in said[9216]] == [True, False]
