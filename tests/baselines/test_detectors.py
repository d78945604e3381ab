"""PaDiM and PatchCore on simple features, against scikit-learn, SciPy and brute force."""
import numpy as np
import pytest
import tensorflow as tf
from mean_features import CELL, Means, batches
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors

from grdnet_tf.baselines import padim, patchcore
from grdnet_tf.baselines.detector import enlarging
from grdnet_tf.errors import InputError

RIDGE = 0.01


class Squares(Means):
    """The means, and their squares."""
    channels = 6

    def call(self, images):
        means = super().call(images)
        return tf.concat([means, tf.square(means)], axis=-1)


class Broken(Means):
    def call(self, images):
        return super().call(images) / 0.0


@pytest.fixture(scope="module")
def pictures():
    """(cells (40, 4, 6, 3), pictures (40, 32, 48, 3) whose means they are)."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(0.5, 0.1, (40, 4, 6, 3)) @ np.array([[1, 0.5, 0.1], [0, 1, 0.3], [0, 0, 1]])
    cells = (mixed / 3).astype(np.float32)
    return cells, cells.repeat(CELL, axis=1).repeat(CELL, axis=2)


def test_padim_is_the_mahalanobis_distance_of_scikit_learn(pictures):
    cells, images = pictures
    model = padim.PaDiM(Means(), (32, 48), 3, padim.fit(Means(), batches(images[:30]), ridge=RIDGE))
    found = model.distances(Means()(images[30:])).numpy()
    for row, column in ((0, 0), (2, 3), (3, 5)):
        good = cells[:30, row, column].astype(np.float64)
        reference = EmpiricalCovariance().fit(good)
        reference.covariance_ = reference.covariance_ * 30 / 29 + RIDGE * np.eye(3)  # of n - 1, and the ridge
        reference.precision_ = np.linalg.inv(reference.covariance_)
        expected = np.sqrt(reference.mahalanobis(cells[30:, row, column]))
        np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-3)


def test_padim_does_not_depend_on_the_batches(pictures):
    _, images = pictures
    one, many = (padim.fit(Means(), batches(images, size=size)) for size in (40, 7))
    for name in one:
        np.testing.assert_allclose(one[name], many[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_padim_keeps_channels_by_seed(pictures):
    _, images = pictures
    kept = [padim.fit(Means(), batches(images), channels=2, seed=seed)["kept"].tolist() for seed in (0, 0, 1, 2, 3)]
    assert kept[0] == kept[1] and len({tuple(k) for k in kept}) > 1 and all(len(k) == 2 for k in kept)
    arrays = padim.fit(Means(), batches(images), channels=2, seed=0)
    model, whole = padim.PaDiM(Means(), (32, 48), 3, arrays), Means()(images).numpy()[..., arrays["kept"]]
    covariance = np.cov(whole[:, 1, 1].T) + RIDGE * np.eye(2)
    expected = mahalanobis(whole[5, 1, 1], whole[:, 1, 1].mean(0), np.linalg.inv(covariance))
    assert model.distances(Means()(images)).numpy()[5, 1, 1] == pytest.approx(expected, rel=1e-3)


def test_groups_of_channels_vary_independently(pictures):
    _, images = pictures
    arrays = padim.fit(Squares(), batches(images), ridge=RIDGE, groups=2, seed=3)
    kept = arrays["kept"]
    assert kept.shape == (2, 3) and sorted(kept.ravel()) == list(range(6)) and kept.tolist() != [[0, 1, 2], [3, 4, 5]]
    seen, squares = Squares()(images).numpy().astype(np.float64), 0
    for group in kept:
        good = seen[:, 2, 4][:, group]
        squares += mahalanobis(seen[7, 2, 4][group], good.mean(0), np.linalg.inv(np.cov(good.T) + RIDGE * np.eye(3))) ** 2
    model = padim.PaDiM(Squares(), (32, 48), 3, arrays)
    assert model.distances(Squares()(images)).numpy()[7, 2, 4] == pytest.approx(np.sqrt(squares), rel=1e-3)


def test_what_cannot_be_shared_among_groups_is_not_kept_and_nothing_to_share_is_refused(pictures):
    _, images = pictures
    for channels, groups, shape in ((0, 4, (4, 1)), (5, 2, (2, 2)), (0, 6, (6, 1))):
        kept = padim.fit(Squares(), batches(images), channels=channels, groups=groups)["kept"]
        assert kept.shape == shape and len(set(kept.ravel())) == kept.size
    with pytest.raises(InputError, match="features.groups = 7: more than the 6 channels"):
        padim.fit(Squares(), batches(images), groups=7)


@pytest.mark.parametrize("count", [1, 5])
def test_padim_of_one_picture_or_of_identical_ones_measures_by_the_ridge_alone(pictures, count):
    cells, images = pictures
    model = padim.PaDiM(Means(), (32, 48), 3, padim.fit(Means(), batches(images[:1].repeat(count, axis=0)), ridge=RIDGE))
    expected = np.linalg.norm(cells[1] - cells[0], axis=-1) / np.sqrt(RIDGE)
    np.testing.assert_allclose(model.distances(Means()(images[1:2]))[0], expected, rtol=1e-3)
    found = model(images[:1])
    assert float(found.score[0]) == pytest.approx(0, abs=1e-4)
    assert float(model.fitted.scale.numpy()) == pytest.approx(np.sqrt(3))
    model.set_scale(batches(images[:1]))  # held-out pictures at no distance leave it
    assert float(model.fitted.scale.numpy()) == pytest.approx(np.sqrt(3))


def test_positions_outside_the_roi_do_not_count_and_those_never_inside_are_good(pictures):
    cells, images = pictures
    roi = np.ones((40, 32, 48, 1), np.float32)
    roi[:, :, :CELL] = 0           # the first column of cells, in every picture
    roi[:20, :CELL, 2 * CELL:3 * CELL] = 0  # cell (0, 2), in half of them
    spoilt = images.copy()
    spoilt[np.broadcast_to(roi == 0, images.shape)] = 7.0
    arrays = padim.fit(Means(), batches(spoilt, roi), ridge=RIDGE)
    np.testing.assert_array_equal(arrays["known"][:, 0], 0)
    assert arrays["known"][:, 1:].all()
    model = padim.PaDiM(Means(), (32, 48), 3, arrays)
    found = model.of_known(model.distances(Means()(images))).numpy()
    np.testing.assert_array_equal(found[:, :, 0], 0)
    np.testing.assert_allclose(arrays["mean"].reshape(4, 6, 3)[0, 2], cells[20:, 0, 2].mean(axis=0), rtol=1e-4)
    # Its covariance: 20 pictures, and 20 of the average spread of all positions.
    scatter = [np.cov(cells[20 if (r, c) == (0, 2) else 0:, r, c].T) for r in range(4) for c in range(1, 6)]
    weights = np.array([19 if (r, c) == (0, 2) else 39 for r in range(4) for c in range(1, 6)], float)
    average = np.tensordot(weights, scatter, 1) / weights.sum()
    covariance = (19 * np.cov(cells[20:, 0, 2].T) + 20 * average) / 39 + RIDGE * np.eye(3)
    expected = mahalanobis(cells[3, 0, 2], cells[20:, 0, 2].mean(axis=0), np.linalg.inv(covariance))
    assert found[3, 0, 2] == pytest.approx(expected, rel=1e-3)
    # A known position beside them is smoothed with known ones alone: a constant distance stays one.
    level = model.enlarged(tf.constant(3 * arrays["known"][None]), (32, 48)).numpy()[0]
    np.testing.assert_allclose(level[:, CELL:], 3, rtol=1e-4)


def test_patchcore_is_silent_where_no_good_part_was_shown_in_pictures_of_its_size(pictures):
    _, images = pictures
    roi = np.ones((40, 32, 48, 1), np.float32)
    roi[:, :, :CELL] = 0
    arrays = patchcore.fit(Means(), batches(images, roi), neighbours=4)
    model = patchcore.PatchCore(Means(), (32, 48), 3, arrays)
    spoilt = images[:2].copy()
    spoilt[:, :, :CELL] = 7.0
    np.testing.assert_array_equal(model(spoilt).anomaly_map, model(images[:2]).anomaly_map)
    np.testing.assert_allclose(model(spoilt).score, model(spoilt, roi=roi[:2]).score, rtol=1e-6)
    alike = patchcore.PatchCore(Means(), (32, 48), 3, {**arrays, "bank": arrays["bank"][:1] * 0, "near": np.int32([[0]])})
    level = np.broadcast_to(arrays["centre"], (1, 32, 48, 3)).astype(np.float32).copy()
    level[:, :, :CELL] = 7.0  # nothing that is known differs: the farthest is one of these all the same
    assert float(alike(level).score[0]) == pytest.approx(0, abs=1e-6)
    older = patchcore.PatchCore(Means(), (32, 48), 3, {name: one for name, one in arrays.items() if name != "known"})
    wide = np.concatenate([spoilt, spoilt], axis=2)
    np.testing.assert_array_equal(model.resized((32, 96))(wide).anomaly_map, older.resized((32, 96))(wide).anomaly_map)
    assert model.resized((32, 96))(wide).score.numpy().min() > model(spoilt).score.numpy().max()


@pytest.mark.parametrize("fit", [padim.fit, patchcore.fit])
def test_a_roi_of_nothing_and_features_that_are_not_finite_are_refused(pictures, fit):
    _, images = pictures
    with pytest.raises(InputError, match="covers nothing of any training picture"):
        fit(Means(), batches(images, np.zeros((40, 32, 48, 1), np.float32)))
    with pytest.raises(InputError, match="not finite"):
        fit(Broken(), batches(images))


def test_the_map_is_enlarged_linearly_smoothed_and_at_one_half_where_the_farthest_good_part_is(pictures):
    _, images = pictures
    model = padim.PaDiM(Means(), (32, 48), 3, padim.fit(Means(), batches(images[:30])), smoothing=4.0)
    distances = model.distances(Means()(images[30:])).numpy()
    bilinear = tf.image.resize(distances[..., None], (32, 48)).numpy()[..., 0]
    smooth = np.stack([gaussian_filter(one, 4.0) for one in bilinear])
    np.testing.assert_allclose(model.enlarged(tf.constant(distances), (32, 48)), smooth, rtol=1e-3)
    model.set_scale(batches(images[30:]))
    found = model(images[30:])
    assert found.reconstruction is None and found.anomaly_map.shape == (10, 32, 48, 1)
    expected = smooth**2 / (smooth**2 + smooth.max()**2)
    np.testing.assert_allclose(found.anomaly_map[..., 0], expected, atol=1e-4)
    np.testing.assert_allclose(found.score, expected.max(axis=(1, 2)), atol=1e-4)
    assert found.score.numpy().max() == pytest.approx(0.5, abs=1e-4)


def test_without_smoothing_the_map_is_linear():
    np.testing.assert_allclose(enlarging(4, 2, 0), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


@pytest.mark.parametrize("kind", ["padim", "patchcore"])
def test_a_roi_cuts_map_and_score(pictures, kind):
    _, images = pictures
    model = detector(kind, images)
    odd = images[30:32].copy()
    odd[:, :16, :16] = 1.0  # far from all that was seen
    everywhere, right = np.ones((2, 32, 48, 1), np.float32), np.ones((2, 32, 48, 1), np.float32)
    right[:, :, :32] = 0
    whole, cut, blind = model(odd), model(odd, roi=right), model(odd, roi=0 * right)
    np.testing.assert_allclose(model(odd, roi=everywhere).score, whole.score, rtol=1e-6)
    np.testing.assert_array_equal(cut.anomaly_map, whole.anomaly_map * right)
    assert (cut.score.numpy() < 0.7 * whole.score.numpy()).all()
    np.testing.assert_array_equal(blind.score, [0, 0])
    assert 0 <= whole.anomaly_map.numpy().min() and whole.anomaly_map.numpy().max() < 1


def detector(kind, images):
    if kind == "padim":
        return padim.PaDiM(Means(), (32, 48), 3, padim.fit(Means(), batches(images)))
    return patchcore.PatchCore(Means(), (32, 48), 3, patchcore.fit(Means(), batches(images), neighbours=4))


def test_the_coreset_is_the_greedy_one_of_brute_force():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(60, 5)).astype(np.float32)
    chosen = patchcore.coreset(vectors, 15, 0, np.random.default_rng(1))
    apart, expected = cdist(vectors, vectors), [chosen[0]]
    while len(expected) < 15:
        expected.append(int(apart[:, expected].min(axis=1).argmax()))
    assert chosen.tolist() == expected
    told = []
    assert len(patchcore.coreset(vectors[:1].repeat(9, axis=0), 5, 0, rng)) == 1  # the others only repeat it
    patchcore.coreset(vectors, 15, 3, rng, lambda *step: told.append(step))  # projected: 15 different ones all the same
    assert told == [(15, 15)]


def test_patchcore_finds_the_nearest_neighbours_of_scikit_learn_and_weighs_the_score_as_equation_7(pictures, monkeypatch):
    cells, images = pictures
    monkeypatch.setattr(patchcore, "CHUNK", 50)  # of a bank of 360: several chunks, the last one not full
    arrays = patchcore.fit(Means(), batches(images[:30]), share=0.5, neighbours=4)
    assert arrays["bank"].shape == (360, 3)
    bank = arrays["bank"] + arrays["centre"]
    model = patchcore.PatchCore(Means(), (32, 48), 3, arrays)
    index = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(bank)
    patches = cells[30:].reshape(-1, 3)
    distance, which = index.kneighbors(patches, 1)
    found = model.distances(Means()(images[30:])).numpy()
    np.testing.assert_allclose(found.ravel(), distance[:, 0], atol=2e-5)
    scores = []
    for distances, nearest, seen in zip(distance.reshape(10, 24), which.reshape(10, 24), patches.reshape(10, 24, 3)):
        worst = distances.argmax()
        around = index.kneighbors(bank[nearest[worst]][None])[1][0]
        apart = np.linalg.norm(seen[worst] - bank[around], axis=1)
        scores.append(distances[worst] * (1 - np.exp(distances[worst]) / np.exp(apart).sum()))
    scale = arrays["scale"]
    expected = np.square(scores) / (np.square(scores) + scale**2)
    np.testing.assert_allclose(model(images[30:]).score, expected, rtol=1e-3)


def test_patchcore_draws_its_candidates_fairly_and_in_bounded_memory(pictures):
    cells, images = pictures
    arrays = patchcore.fit(Means(), batches(images, size=4), share=1.0, candidates=300)
    bank = arrays["bank"] + arrays["centre"]
    assert len(bank) == 300
    apart, picture = cdist(bank, cells.reshape(-1, 3)).min(axis=1), cdist(bank, cells.reshape(-1, 3)).argmin(axis=1) // 24
    np.testing.assert_allclose(apart, 0, atol=1e-5)
    assert len(set(picture)) > 35  # of 40 pictures; 300 of 960 patches miss one of them with a chance of 1e-4


def test_patchcore_of_one_vector_scores_by_its_distance(pictures):
    cells, _ = pictures
    one = np.full((1, 32, 48, 3), 0.25, np.float32)
    model = patchcore.PatchCore(Means(), (32, 48), 3, patchcore.fit(Means(), batches(one)))
    assert model.fitted.bank.shape == (1, 3) and float(model.fitted.scale.numpy()) == 1.0
    found = model(np.full((1, 32, 48, 3), 0.75, np.float32))
    square = 3 * 0.5**2
    assert float(found.score[0]) == pytest.approx(square / (square + 1), rel=1e-5)


def test_patchcore_takes_other_sizes(pictures):
    _, images = pictures
    model = detector("patchcore", images)
    wide = np.concatenate([images[:2], images[2:4]], axis=2)  # 32 x 96
    resized = model.resized((32, 96))
    assert resized.image_size == (32, 96)
    np.testing.assert_array_equal(resized(wide).anomaly_map, model(wide).anomaly_map)
    assert model(wide).anomaly_map.shape == (2, 32, 96, 1)


def test_keras_predict_gives_what_a_call_does_and_an_empty_reconstruction(pictures):
    _, images = pictures
    model = padim.PaDiM(Means(), (32, 48), 3, padim.fit(Means(), batches(images)))
    roi = np.ones((40, 32, 48, 1), np.float32)
    roi[:, :20] = 0
    for given, expected in ((images, model(images)), ({"image": images, "roi": roi}, model(images, roi=roi))):
        found = model.predict(given, batch_size=16, verbose=0)
        assert found[0].shape == (40, 32, 48, 0)
        np.testing.assert_allclose(found[1], expected.anomaly_map, atol=1e-5)
        np.testing.assert_allclose(found[2], expected.score, atol=1e-5)
