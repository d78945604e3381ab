"""The steps against independent references: what each term compares, how terms are weighed, what a validation sees."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.options import Loss, Noise

keras = tf.keras
TINY = dict(widths=(4, 8), latent=4, stem=0, blocks=1, discriminator_widths=(4, 8), segmenter_widths=(4, 8),
            score_pool=3)
LEFT = np.zeros((4, 16, 16, 1), np.float32)
LEFT[:, :, :8] = 1.0


def tiny(objective=Loss(), seed=1, **options):
    keras.utils.set_random_seed(seed)
    model = GRDNet((16, 16), 3, **{**TINY, **options})
    model.compile(objective=objective, jit_compile=False)
    return model


def batch(seed=0):
    """Noisy pictures that differ from the clean ones everywhere; defects on both sides of the ROI's edge."""
    rng = np.random.default_rng(seed)
    image, noisy = rng.random((2, 4, 16, 16, 3)).astype(np.float32)
    mask = np.zeros((4, 16, 16, 1), np.float32)
    mask[:, 3:9, 2:14] = 1.0
    return dict(image=image, noisy=noisy, mask=mask, roi=LEFT)


def mean_square(a, b):
    return np.mean(np.square(np.asarray(a, np.float64) - np.asarray(b, np.float64)))


# forward --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_each_term_compares_what_the_paper_compares(training):
    """The networks one by one, each formula written out; in training with batch norm's statistics of what they see."""
    model, data = tiny(Loss(l2=1.0)), batch()
    terms, logits = model.forward({name: tf.constant(part) for name, part in data.items()}, training)
    terms = {name: float(value) for name, value in terms.items()}
    generator, image = model.generator, data["image"]
    z = generator.encoder(data["noisy"], training=training)
    fake = generator.decoder(z, training=training)
    assert terms["l1"] == pytest.approx(np.mean(np.abs(image - fake.numpy())), rel=1e-5)
    assert terms["l2"] == pytest.approx(mean_square(image, fake), rel=1e-5)
    assert terms["ssim"] == pytest.approx(1.0 - np.mean(tf.image.ssim(image, fake, 1.0)), rel=1e-4)
    assert terms["encoder"] == pytest.approx(mean_square(z, generator.encoder_hat(fake, training=training)), rel=1e-4)
    real, found = (model.discriminator(one, training=training) for one in (image, fake))
    assert terms["adversarial"] == pytest.approx(mean_square(real.features, found.features), rel=1e-4)
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = (entropy(tf.ones((4, 1)), real.logits) + entropy(tf.zeros((4, 1)), found.logits)) / 2.0
    assert terms["discriminator"] == pytest.approx(float(expected), rel=1e-4)
    ours = model.segmenter(tf.concat([data["noisy"], fake], -1), training=training).numpy()
    np.testing.assert_allclose(logits, ours, rtol=1e-4, atol=1e-5)
    p = 1.0 / (1.0 + np.exp(-ours.astype(np.float64)))
    target = data["mask"] * LEFT
    focal = np.where(target > 0, -(1 - p) ** 2 * np.log(p), -p ** 2 * np.log(1 - p))
    assert terms["segmentation"] == pytest.approx(focal.mean(), rel=1e-4)


def test_the_discriminator_sees_each_kind_of_picture_by_itself():
    """f(X) in training is the same whatever X^ is: the two share no batch statistics."""
    model, data = tiny(), {name: tf.constant(part) for name, part in batch().items()}
    judge, seen = model.discriminator, []
    model.discriminator = lambda images, training: seen.append(judge(images, training=training)) or seen[-1]
    for shift in (0.0, 3.0):
        model.generator.decoder.paint.bias.assign_add(shift * tf.ones_like(model.generator.decoder.paint.bias))
        model.forward(data, training=True)
    real, fake, real_after, fake_after = (found.features.numpy() for found in seen)
    assert np.array_equal(real, real_after) and np.abs(fake - fake_after).max() > 1e-3


def test_blocks_of_a_stage_reach_the_discriminator():
    model = tiny(blocks=2)
    assert [len(stage.blocks) for stage in model.discriminator.stages] == [2, 2]
    model = tiny(blocks=2, discriminator_blocks=1)
    assert [len(stage.blocks) for stage in model.discriminator.stages] == [1, 1]
    assert [len(stage.blocks) for stage in model.generator.encoder.stages] == [2, 2]


# objectives -----------------------------------------------------------------------------------------------------------

TERMS = dict(l1=2.0, l2=3.0, ssim=5.0, adversarial=7.0, encoder=11.0, segmentation=13.0, overlap=17.0,
             discriminator=19.0)
WEIGHTS = dict(contextual=0.5, l1=2.0, l2=3.0, ssim=0.25, adversarial=1.5, encoder=0.7, segmentation=4.0, overlap=0.1,
               roi_reading="overlap")


def test_each_weight_stands_where_the_equations_have_it():
    # contextual 2*2 + 3*3 + 0.25*5 = 14.25; generator 0.5*14.25 + 1.5*7 + 0.7*11; segmenter 4 (13 + 0.1*17)
    found = tiny(Loss(**WEIGHTS)).objectives({name: tf.constant(value) for name, value in TERMS.items()})
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"generator": 25.325, "discriminator": 19.0, "segmenter": 58.8}, rel=1e-6)


def test_no_objective_is_a_chain_of_additions():
    """TensorFlow would rewrite it to one AddN, whose order, and so the last bit, depends on what ends first."""
    model = tiny(Loss(**WEIGHTS, segmentation_to_generator=0.5))
    graph = tf.function(model.objectives).get_concrete_function(
        {name: tf.TensorSpec((), tf.float32) for name in TERMS}).graph
    operations = graph.get_operations()
    added = [op for op in operations if op.type == "AddV2"]
    assert "Sum" in {op.type for op in operations}
    assert not [op for op in added if any(part.op.type == "AddV2" for part in op.inputs)]


@pytest.mark.parametrize("share, added", [(1, 58.8), (0.25, 14.7)])
def test_the_share_of_the_segmentation_loss_that_reaches_the_generator_adds_to_its_objective(share, added):
    found = tiny(Loss(**WEIGHTS, segmentation_to_generator=share)).objectives(
        {name: tf.constant(value) for name, value in TERMS.items()})
    assert float(found["generator"]) == pytest.approx(25.325 + added, rel=1e-6)
    assert float(found["segmenter"]) == pytest.approx(58.8, rel=1e-6)


@pytest.mark.parametrize("to_generator", [0, 0.25, 1])
@pytest.mark.parametrize("step", ["train_step", "test_step"])
def test_the_loss_in_the_logs_is_eq_6_of_the_terms_in_the_logs(step, to_generator):
    w = Loss(**WEIGHTS, segmentation_to_generator=to_generator)
    logs = {name: float(value) for name, value in getattr(tiny(w), step)(batch()).items()}
    generator = (0.5 * (2.0 * logs["l1"] + 3.0 * logs["l2"] + 0.25 * logs["ssim"])
                 + 1.5 * logs["adversarial"] + 0.7 * logs["encoder"])
    segmenter = 4.0 * (logs["segmentation"] + 0.1 * logs["overlap"])
    assert logs["loss"] == pytest.approx(generator + segmenter, rel=1e-5)
    assert logs["generator"] == pytest.approx(generator + segmenter * to_generator, rel=1e-5)
    assert min(logs[name] for name in ("l1", "l2", "ssim", "adversarial", "encoder", "segmentation")) > 0  # none is lost


def test_a_validation_of_the_generator_alone_and_a_prediction_go_by_the_roi():
    alone = tiny(Loss(segmentation=0.0, adversarial=0.0, encoder=0.0), segmenter_widths=None, second_encoder=False,
                 discriminator_widths=None)
    given = batch()
    given["noisy"] = np.where(given["mask"] > 0, 1.0 - given["image"], given["image"])
    expected = alone(given["noisy"], roi=LEFT).score.numpy()
    assert np.allclose(alone.judged(alone.perturbed(given), None)[1], expected)
    assert set(alone.test_step(given)) >= {"l1", "pixel_ap", "image_auroc"}
    model = tiny()
    found = model.predict_step(dict(image=given["image"], roi=LEFT))
    np.testing.assert_allclose(found.score, model(given["image"], roi=LEFT).score, atol=1e-6)
    assert not np.any(found.anomaly_map.numpy()[:, :, 8:]) and np.any(found.anomaly_map.numpy()[:, :, :8])


def test_figures_of_an_epoch_weigh_batches_by_their_pictures():
    model, data = tiny(), batch()
    parts = [{name: part[rows] for name, part in data.items()} for rows in (slice(0, 1), slice(1, 4))]
    alone = [float(tiny().test_step(part)["l1"]) for part in parts]
    logs = [model.test_step(part) for part in parts][-1]
    assert float(logs["l1"]) == pytest.approx(0.25 * alone[0] + 0.75 * alone[1], rel=1e-5)


# test_step ------------------------------------------------------------------------------------------------------------


def test_a_validation_leaves_the_model_as_it_is_and_a_training_step_does_not():
    model = tiny()
    moments = [w for w in model.generator.weights if "moving" in w.name]
    assert moments and not np.allclose(moments[0], 0.5)
    before = network_arrays(model)
    model.test_step(batch())
    after = network_arrays(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    held = [np.array(w) for w in moments]
    model.train_step(batch())
    assert not any(np.array_equal(w, old) for w, old in zip(moments, held))


def test_a_validation_uses_the_moving_moments():
    """As inference does: its l1 is that of the reconstruction there, which differs from a training pass's."""
    model, data = tiny(), batch()
    plain, trained = (np.mean(np.abs(data["image"] - model.generator(data["noisy"], training=t).reconstruction))
                      for t in (False, True))
    model = tiny()  # the moments as they were
    assert abs(plain - trained) > 1e-3 and float(model.test_step(data)["l1"]) == pytest.approx(plain, rel=1e-5)


def found_by(logits):
    """A model whose segmenter says `logits` (4, 16, 16, 1), whatever it is shown."""
    model = tiny()
    model.segment = lambda *seen, training=False: tf.constant(logits)
    return model


def test_validation_figures_count_inside_the_roi_only():
    """Left of the ROI's edge every defect is found; right of it alarms where nothing is and silence on defects."""
    data = batch()
    data["mask"][:2] = 0.0
    data["mask"][:, 12:, 12:] = 1.0  # right of the edge, in the good pictures too
    inside = np.where(data["mask"] > 0, 3.0, -3.0)
    outside = np.where(data["mask"] > 0, -6.0, 6.0)
    logs = found_by(np.where(LEFT > 0, inside, outside).astype(np.float32)).test_step(data)
    assert float(logs["pixel_ap"]) == pytest.approx(1.0) and float(logs["image_auroc"]) == pytest.approx(1.0)


def test_validation_figures_by_hand():
    """Each picture has four pixels in its ROI: of scores 0.9 and 0.7 defective, of 0.8 and 0.6 good."""
    roi, mask, score = (np.zeros((4, 16, 16, 1), np.float32) for _ in range(3))
    for i, (defective, value) in enumerate(((1, 0.9), (0, 0.8), (1, 0.7), (0, 0.6))):
        roi[:, 4 * i, 4 * i], mask[:, 4 * i, 4 * i], score[:, 4 * i, 4 * i] = 1.0, defective, value
    mask[3] = 0.0  # a good picture, its pixels of 0.9 and 0.7 are false alarms
    data = dict(batch(), roi=roi, mask=mask)
    score = np.clip(score, 1e-6, 1 - 1e-6)
    logs = found_by(np.log(score / (1 - score)).astype(np.float32)).test_step(data)
    # By score: 0.9: 3 d 1 g, 0.8: 4 g, 0.7: 3 d 1 g, 0.6: 4 g. AP = (3 * 3/4 + 3 * 6/12) / 6
    assert float(logs["pixel_ap"]) == pytest.approx((3 * 0.75 + 3 * 0.5) / 6, rel=1e-4)
    assert float(logs["image_auroc"]) == pytest.approx(0.5)  # all four pictures have the same score


# Numbers that nobody sets --------------------------------------------------------------------------------------------


def test_the_segmenter_sees_the_difference_three_times_as_strong():
    model = tiny(segmenter_difference=True)
    image, noisy = batch()["image"], batch()["noisy"]
    expected = model.segmenter(np.concatenate([image, noisy, 3.0 * np.abs(image - noisy)], -1), training=False)
    np.testing.assert_allclose(model.segment(image, noisy), expected, rtol=1e-4, atol=1e-5)


def test_what_compile_takes_where_it_is_told_nothing():
    model = GRDNet((16, 16), 3, **TINY)
    model.compile()
    assert [float(tf.convert_to_tensor(one.learning_rate)) for one in model.optimizers().values()] == [
        pytest.approx(1e-4)] * 3
    assert model.architecture["second_encoder"] and not model.architecture["synchronized"]
    assert model.clip_norm == 0.0 and model.objective == Loss() and model.noise == Noise() and model.textures is None


def test_tiles_overlap_by_a_quarter_where_nothing_is_said():
    model, large = tiny(), np.random.default_rng(0).random((1, 20, 28, 3), np.float32)
    for ours, theirs in zip(model.predict_tiled(large), model.predict_tiled(large, tile=(16, 16), overlap=4, batch=3)):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    other = model.predict_tiled(large, tile=16, overlap=8)
    assert np.abs(other.anomaly_map - model.predict_tiled(large).anomaly_map).max() > 1e-4


@pytest.mark.parametrize("pre_activation", [False, True])
def test_inference_alone_has_neither_second_encoder_nor_discriminator(pre_activation):
    model = tiny(pre_activation=pre_activation)
    alone = GRDNet(**{**model.architecture, **model.training_only})
    assert alone.discriminator is None and alone.generator.encoder_hat is None
    normalised = any("moving" in weight.name for weight in alone.weights)
    assert normalised == pre_activation  # one before its convolution cannot be folded into it
