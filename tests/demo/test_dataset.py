"""The demo set: its layout, where marks lie and show, and that nothing of others is touched."""
import os

import cv2
import numpy as np
import pytest

from grdnet_tf.cli import demo
from grdnet_tf.demo import dataset, render
from grdnet_tf.demo import scene as demo_scene
from grdnet_tf.errors import InputError

SMALL = dict(train=2, test_good=1, per_defect=1, distractors=2, size=(64, 64))


def files_of(root):
    return {os.path.relpath(os.path.join(folder, name), root): open(os.path.join(folder, name), "rb").read()
            for folder, _, names in os.walk(root) for name in names}


def test_layout_on_disk(tmp_path):
    files = files_of(dataset.write_demo(str(tmp_path / "set"), **SMALL))
    images = {f"{folder}/000.png" for folder in
              ["train/good", "test/good", "test/distractor"] + [f"test/{kind}" for kind in dataset.DEFECTS]}
    images |= {"train/good/001.png", "test/distractor/001.png"}
    masks = {name.replace("test", "ground_truth").replace(".png", "_mask.png") for name in images if "good" not in name}
    assert set(files) == images | masks | {f"roi/{name}" for name in images} | {"demo.json"}
    for name in sorted(images | masks | {f"roi/{name}" for name in images}):
        pixels = cv2.imdecode(np.frombuffer(files[name], np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == ((64, 64, 3) if name in images else (64, 64)), name
        if name not in images:
            assert set(np.unique(pixels)) == {0, 255}, name


@pytest.mark.parametrize("size", [(128, 128), (64, 96)])
@pytest.mark.parametrize("kind", dataset.DEFECTS + ("distractor",))
def test_defects_lie_inside_the_roi_and_distractors_outside(kind, size):
    for index in range(3):
        sample = dataset.draw_sample(3, f"test/{kind}", index, size)
        assert sample.mask.any() and sample.roi.any() and not sample.roi.all()
        if kind == "distractor":
            margin = round(4 * size[0] / 128)
            near = cv2.dilate(sample.roi.astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)) > 0
            assert not (sample.mask & near).any()
        else:
            assert not (sample.mask & ~sample.roi).any()


@pytest.mark.parametrize("kind", dataset.DEFECTS + demo_scene.DISTRACTORS)
def test_a_mark_is_seen_where_its_mask_is_and_nowhere_else(kind):
    size, rng = (128, 128), np.random.default_rng(5)
    scene = demo_scene.sample_scene(rng, size)
    draw_mark = demo_scene.sample_defect if kind in dataset.DEFECTS else demo_scene.sample_distractor
    marks = [draw_mark(rng, kind, scene) for _ in range(40)]
    mark = next(m for m in marks if render.in_picture(m, scene, size) and abs(m.strength) > 0.6)
    pictures = [render.draw(scene, size, marks, np.random.default_rng(1)) for marks in ([], [mark])]
    difference = cv2.absdiff(*pictures).max(-1)
    mask = render.mark_mask(mark, scene, size)
    assert difference[mask].max() > 20
    # A dent bends the light and mirrors the belt up to a few pixels around; the rest of the picture keeps its bits.
    assert difference[cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)) == 0].max() == 0


def test_the_meniscus_is_where_the_scene_says():
    size, rng = (128, 128), np.random.default_rng(0)
    scene = demo_scene.sample_scene(rng, size)._replace(
        shift=np.zeros(2), angle=0.0, droplets=np.zeros((0, 3)), slope=np.zeros(3), climb=np.zeros(3),
        depth=np.ones(3), ripple=np.zeros((3, 2)), noise=0.0)
    for level in (-14.0, -8.0, -3.0):
        picture = render.draw(scene._replace(level=np.full(3, level)), size, [], rng).astype(float)
        darkest = 40 + picture[40:76, 62:66].mean((1, 2)).argmin()  # on the axis of the middle vial, x = 64
        assert abs(darkest + 0.5 - (64 + level + 1)) <= 1  # the front rim is `depth` = 1 below the level


def test_strip_coordinates_and_pixels_are_inverse():
    size = (96, 160)
    scene = demo_scene.sample_scene(np.random.default_rng(1), size)._replace(angle=0.3, shift=np.array([3.0, -5.0]))
    u, v = render.strip_coordinates(scene, size)
    for y, x in [(0, 0), (17, 250), (191, 319)]:
        assert render._pixels(np.array([[u[y, x], v[y, x]]]), scene, size)[0] == pytest.approx([x, y], abs=1e-3)


def test_a_picture_depends_on_seed_folder_and_index_only(tmp_path):
    first = files_of(dataset.write_demo(str(tmp_path / "a"), seed=7, **SMALL))
    larger = files_of(dataset.write_demo(str(tmp_path / "b"), seed=7, **dict(SMALL, train=3, test_good=2)))
    other = files_of(dataset.write_demo(str(tmp_path / "c"), seed=8, **SMALL))
    pictures = [name for name in first if name.endswith(".png")]
    assert all(larger[name] == first[name] for name in pictures)
    assert all(other[name] != first[name] for name in pictures if not name.startswith(("roi", "ground_truth")))
    assert first["train/good/000.png"] != first["train/good/001.png"] != first["test/good/000.png"]


def test_a_complete_set_is_kept_and_a_damaged_one_drawn_anew(tmp_path):
    root = dataset.write_demo(str(tmp_path / "set"), **SMALL)
    before, changed = files_of(root), os.stat(root).st_mtime_ns
    dataset.write_demo(root, **SMALL)
    assert os.stat(root).st_mtime_ns == changed
    os.remove(os.path.join(root, "train/good/001.png"))
    dataset.write_demo(root, **SMALL)
    assert files_of(root) == before
    assert set(files_of(dataset.write_demo(root, **dict(SMALL, train=1)))) < set(before)  # other settings: replaced
    assert os.listdir(tmp_path) == ["set"]  # nothing left behind


def test_what_is_not_ours_is_never_touched(tmp_path, capsys):
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="mine holds files that the demo did not draw"):
        dataset.write_demo(str(foreign), **SMALL)
    ours = dataset.write_demo(str(tmp_path / "ours"), **SMALL)
    (tmp_path / "ours" / "train" / "good" / "my.png").write_text("keep")
    with pytest.raises(InputError, match="ours holds files"):
        dataset.write_demo(ours, **SMALL)
    assert (tmp_path / "ours" / "train" / "good" / "my.png").read_text() == "keep"
    assert demo.main([str(foreign)]) == 2
    assert demo.main([str(foreign / "notes.txt")]) == 2
    assert demo.main([str(tmp_path / "new"), "--size", "16"]) == 2
    assert demo.main([str(tmp_path / "new"), "--seed", "-1"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4 and all(line.startswith("error: ") for line in errors)
    assert "notes.txt is a file" in errors[1] and "16 x 16" in errors[2] and "--seed" in errors[3]
    assert sorted(os.listdir(tmp_path)) == ["mine", "ours"] and (foreign / "notes.txt").read_text() == "keep"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    assert os.path.isfile(os.path.join(dataset.write_demo(str(tmp_path / "empty"), **SMALL), "test/speck/000.png"))
