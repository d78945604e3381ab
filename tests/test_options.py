"""The options: what each kind takes, how a wrong value is said, and that a section never changes."""
import math

import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.kinds import LARGEST, expected
from grdnet_tf.options import READINGS, SHAPES, SOURCES, Data, Loss, Network, Noise, Station, Train, Validation

SECTIONS = (Data, Noise, Validation, Network, Loss, Train)


def refused(section, **values):
    """The one line that the values are refused with."""
    with pytest.raises(InputError) as caught:
        section(**values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("section", SECTIONS)
def test_defaults_are_what_the_section_itself_takes(section):
    assert section(**dict(section())) == section()


def test_values_become_the_types_of_the_options():
    assert Noise(threshold=[0, 1], scales=[2.0, 3]).scales == (2, 3)
    assert Train(learning_rate="1e-4").learning_rate == 1e-4  # YAML 1.1 reads it as text
    assert Train(jit=True).jit == "on" and Train(jit=False).jit == "off"  # and a bare on as true
    assert Data(channels=3).channels == "3" and Data(image_size=[64, 96]).image_size == (64, 96)
    assert Network(widths=[8]).widths == (8,) and Network(discriminator_widths=None).discriminator_widths is None


@pytest.mark.parametrize("section, values, message", [
    (Noise, {"sources": {"colour_image": 1.0}},
     f"Noise: sources = {{'colour_image': 1.0}}; expected name: weight pairs of {', '.join(SOURCES)}"),
    (Noise, {"sources": {"shade": -1.0}},
     f"Noise: sources = {{'shade': -1.0}}; expected name: weight pairs of {', '.join(SOURCES)}"),
    (Noise, {"sources": {"shade": 0.0}}, "Noise: sources = {'shade': 0.0}; expected at least one weight above 0"),
    (Noise, {"sources": {}}, f"Noise: sources = {{}}; expected name: weight pairs of {', '.join(SOURCES)}"),
    (Noise, {"shapes": {"lines": 1.0}},
     f"Noise: shapes = {{'lines': 1.0}}; expected name: weight pairs of {', '.join(SHAPES)}"),
    (Station, {"tiles": [64, 64]}, "Station: tiles = [64, 64]; expected [side, overlap], the overlap less than the side"),
    (Station, {"tiles": [64]}, "Station: tiles = [64]; expected a list of 2 numbers, each a whole number between 1 and "
     "65536 or null"),
    (Noise, {"probability": 1.5}, "Noise: probability = 1.5; expected a number between 0.0 and 1.0"),
    (Noise, {"threshold": (0.5, 0.2)}, "Noise: threshold = (0.5, 0.2); expected [low, high]"),
    (Noise, {"threshold": (0.5,)},
     "Noise: threshold = (0.5,); expected a list of 2 numbers, each a number between -1.0 and 1.0"),
    (Noise, {"scales": (-1, 5)},
     "Noise: scales = (-1, 5); expected a list of 2 numbers, each a whole number between 0 and 5"),
    (Noise, {"opacity": (0.2, 1.2)},
     "Noise: opacity = (0.2, 1.2); expected a list of 2 numbers, each a number between 0.0 and 1.0"),
    (Noise, {"min_area": -1}, "Noise: min_area = -1; expected a whole number, at least 0"),
    (Noise, {"defects": 0}, "Noise: defects = 0; expected a whole number between 1 and 64"),
    (Validation, {"views": 0}, "Validation: views = 0; expected a whole number, at least 1"),
    (Train, {"epochs": 2.5}, "Train: epochs = 2.5; expected a whole number, at least 1"),
    (Train, {"epochs": "many"}, "Train: epochs = 'many'; expected a whole number, at least 1"),
    (Train, {"precision": "float8"},
     "Train: precision = 'float8'; expected one of float32, mixed_float16, mixed_bfloat16"),
    (Train, {"deterministic": 1}, "Train: deterministic = 1; expected true or false"),
    (Network, {"widths": ()}, "Network: widths = (); expected a list of one or more numbers, each a whole number "
                              "between 1 and 65536"),
    (Network, {"segmenter_stride": 3}, "Network: segmenter_stride = 3; expected one of 1, 2"),
    (Network, {"score_pool": 4}, "Network: score_pool = 4; expected an odd number"),
    (Loss, {"roi_reading": "mask"}, f"Loss: roi_reading = 'mask'; expected one of {', '.join(READINGS)}"),
    (Loss, {"focal_alpha": 1.5}, "Loss: focal_alpha = 1.5; expected a number between 0.0 and 1.0 or null"),
    (Data, {"image_size": (4, 64)},
     "Data: image_size = (4, 64); expected a list of 2 numbers, each a whole number between 8 and 65536"),
    (Data, {"root": 3}, "Data: root = 3; expected text or null"),
])
def test_a_wrong_value_is_said_with_what_was_expected(section, values, message):
    assert refused(section, **values) == message


@pytest.mark.parametrize("said, share", [(False, 0.0), (True, 1.0), (0.3, 0.3), ("0.3", 0.3), (1, 1.0)])
def test_what_was_a_switch_is_a_share(said, share):
    assert Loss(segmentation_to_generator=said).segmentation_to_generator == share


def test_what_is_expected_is_what_is_refused():
    for text, value in ((expected(Train, "batch_size"), 0), (expected(Data, "held_out"), 0.6)):
        name, section = ("batch_size", Train) if value == 0 else ("held_out", Data)
        assert refused(section, **{name: value}).endswith(f"; expected {text}")
    assert expected(Train, "batch_size") == "a whole number between 1 and 65536"
    assert expected(Data, "held_out") == "a number between 0.0 and 0.5"


@pytest.mark.parametrize("values, taken", [
    ({"epochs": LARGEST}, True), ({"epochs": LARGEST + 1}, False), ({"epochs": 1}, True), ({"epochs": 0}, False),
    ({"ema": 0.99999}, True), ({"ema": 1.0}, False), ({"learning_rate": 0.0}, True), ({"learning_rate": -1e-9}, False)])
def test_bounds_belong_to_the_range(values, taken):
    if taken:
        assert dict(Train(**values)).items() >= values.items()
    else:
        refused(Train, **values)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", ".inf", "inf", True, False, None, [1], "1e"])
@pytest.mark.parametrize("name", ["learning_rate", "epochs"])
def test_what_is_no_number_is_refused_as_one(name, value):
    assert f"Train: {name} = {value!r}; expected a " in refused(Train, **{name: value})


@pytest.mark.parametrize("weight", [math.nan, math.inf, True])
def test_a_weight_is_a_number(weight):
    assert refused(Noise, sources={"shade": weight}).startswith(f"Noise: sources = {{'shade': {weight!r}}}; expected ")


def test_an_unknown_option_names_the_nearest():
    assert refused(Noise, opacities=(0, 1)) == "Noise: opacities is no option; the nearest is opacity"
    assert refused(Train, epoch=3) == "Train: epoch is no option; the nearest is epochs"
    with pytest.raises(InputError, match="nearest is sources"):
        Noise().replace(source={"shade": 1.0})


def test_a_copy_is_checked_and_the_section_itself_never_changes():
    before = Noise(opacity=(0.5, 0.5))
    after = before.replace(probability=1.0)
    assert (after.probability, after.opacity, before.probability) == (1.0, (0.5, 0.5), 0.5)
    with pytest.raises(InputError, match="Noise: probability = 2.0; expected a number between 0.0 and 1.0"):
        before.replace(probability=2.0)
    with pytest.raises(Exception, match="frozen"):
        before.probability = 0.7
    assert before.probability == 0.5


def test_strides_follow_from_the_widths():
    network = Network(widths=(4, 8, 16), segmenter_widths=(4, 8), discriminator_widths=(4,) * 5)
    assert (network.inference_stride, network.total_stride) == (8, 32)
    assert network.replace(discriminator_widths=None).total_stride == 8
    wide = network.replace(segmenter_widths=(4,) * 5, discriminator_widths=(4,))
    assert (wide.inference_stride, wide.replace(segmenter_stride=2).total_stride) == (16, 32)


def test_every_option_says_what_it_does():
    for section in SECTIONS:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
