"""Configuration files that are based on others, those that are shipped, and one home for the options of the library."""
import pytest

from grdnet_tf import config as configuration
from grdnet_tf.config import load_config
from grdnet_tf.errors import InputError


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_what_a_file_does_not_say_is_as_in_its_base(tmp_path):
    write(tmp_path, "far.yaml", "train: {epochs: 7, batch_size: 3, seed: 5}\n")
    write(tmp_path, "parts/near.yaml", "base: ../far.yaml\ntrain: {batch_size: 4}\nnoise: {sources: {shade: 1}}\n")
    top = write(tmp_path, "parts/top.yaml", "base: near.yaml\ntrain: {seed: 6}\n")
    config = load_config(top, ["train.ema=0.5"])
    assert (config.train.epochs, config.train.batch_size, config.train.seed, config.train.ema) == (7, 4, 6, 0.5)
    assert config.noise.sources == {"shade": 1.0}  # replaced whole, not mixed with the default's
    assert load_config(write(tmp_path, "alone.yaml", configuration.to_yaml(config))) == config


def test_a_file_anywhere_may_be_based_on_a_shipped_one(tmp_path):
    config = load_config(write(tmp_path, "mine.yaml", "base: cpu\ntrain: {epochs: 2}\n"))
    assert list(configuration.differences(config, load_config("cpu"))) == ["train.epochs"]


@pytest.mark.parametrize("text, words", [
    ("base: nowhere.yaml\n", ["base", "nowhere.yaml is not there"]), ("base: a.yaml\n", ["a.yaml", "circle"]),
    ("base: b.yaml\n", ["circle"]), ("base: 3\n", ["base = 3"]), ("trian: {}\n", ["unknown section 'trian'", "train"]),
    ("a: &x [*x]\n", ["unknown section 'a'"]), ("[" * 3000, ["not valid YAML"]), ("train: {epochs: 1.0e+400}", ["epochs"]),
    ("train: {epochs: " + "9" * 400 + "}", ["train.epochs"]), ("train: {epochs: " + "9" * 5000 + "}", ["not valid"]),
    ("data: {image_size: [1e400, 8]}", ["data.image_size"]), ("train: {learning_rate: .nan}", ["learning_rate"])],
    ids=lambda value: str(value)[:30])
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, text, words):
    write(tmp_path, "b.yaml", "base: a.yaml\n")
    file = write(tmp_path, "a.yaml", text)
    with pytest.raises(InputError) as caught:
        load_config(file)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_an_error_names_the_file_that_holds_the_value(tmp_path):
    base = write(tmp_path, "base.yaml", "train: {epochs: 0}\n")
    with pytest.raises(InputError, match=f"^{base}: train.epochs = 0; expected a whole number, at least 1$"):
        load_config(write(tmp_path, "a.yaml", "base: base.yaml\ntrain: {seed: 1}\n"))


def test_shipped_names_work_from_any_folder_and_a_file_of_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("cpu").network.segmenter_difference
    with pytest.raises(InputError, match="cpuu: neither a file nor a shipped.*cpu, demo"):
        load_config("cpuu")
    (tmp_path / "demo").mkdir()
    assert load_config("demo").train.epochs == 12  # a folder is no configuration
    write(tmp_path, "cpu", "train: {epochs: 3}\n")
    assert load_config("cpu").train.epochs == 3


def test_the_library_without_arguments_is_a_run_without_configuration():
    from grdnet_tf import GRDNet
    from grdnet_tf.training.building import build_model

    config = load_config(None, ["data.channels=3"])
    model = GRDNet()
    assert dict(model.architecture) == dict(build_model(config).architecture)
    model.compile()
    assert model.objective == config.loss and model.noise == config.noise
    assert float(model.optimizer.learning_rate) == pytest.approx(config.train.learning_rate)


def test_an_option_that_the_library_does_not_know_is_named():
    from grdnet_tf import GRDNet, Noise

    with pytest.raises(InputError, match="Network: latents is no option; the nearest is latent"):
        GRDNet(latents=3)
    with pytest.raises(InputError, match="bottleneck = 'dense'; expected one of crae, drae"):
        GRDNet(bottleneck="dense")
    with pytest.raises(InputError, match="Noise: probability = True; expected a number between 0.0 and 1.0"):
        Noise(probability=True)
