"""The configuration: what it accepts, what it refuses, and how it says so."""
import pytest

from grdnet_tf import config as configuration
from grdnet_tf.config import load_config, replace, to_yaml
from grdnet_tf.errors import InputError


def test_yaml_round_trip(tmp_path):
    config = load_config(None, ["train.learning_rate=1e-3", "noise.sources={shade: 2}", "loss.focal_alpha=0.3",
                                "train.jit=on", "data.image_size=[64, 96]", "data.root=/some where"])
    assert config.train.learning_rate == 1e-3 and config.data.image_size == (64, 96) and config.train.jit == "on"
    file = tmp_path / "c.yaml"
    file.write_text(to_yaml(config))
    assert load_config(str(file)) == config


def test_overrides_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("train: {epochs: 7, batch_size: 3}\n")
    config = load_config(str(file), ["train.epochs=9"])
    assert (config.train.epochs, config.train.batch_size, config.train.seed) == (9, 3, 0)


@pytest.mark.parametrize("override, words", [
    ("train.epoch=3", ["train.epoch", "train.epochs"]),
    ("trian.epochs=3", ["trian.epochs", "train.epochs"]),
    ("train.epochs=0", ["train.epochs", "at least 1"]),
    ("train.epochs=2.5", ["train.epochs", "whole number"]),
    ("train.epochs=many", ["train.epochs", "whole number"]),
    ("train.deterministic=1", ["train.deterministic", "true or false"]),
    ("train.precision=float8", ["train.precision", "mixed_bfloat16"]),
    ("loss.overlap=1.5", ["loss.overlap", "between 0.0 and 1.0"]),
    ("noise.threshold=[0.5]", ["noise.threshold", "2 numbers"]),
    ("noise.threshold=[0.5, 0.2]", ["noise.threshold", "[low, high]"]),
    ("noise.sources=shade", ["noise.sources", "weight"]),
    ("noise.sources={texture: 1}", ["noise.textures"]),
    ("network.segmenter_stride=3", ["network.segmenter_stride", "1, 2"]),
    ("network.score_pool=4", ["network.score_pool", "odd"]),
    ("data.image_size=[100, 96]", ["100", "divisible by 32"]),
    ("data.crop=[100, 96]", ["data.crop", "100", "divisible by 32"]),
    ("data.crop=[512, 96]", ["data.crop", "larger than data.image_size"]),
    ("data.crop=64", ["data.crop", "2 numbers"]),
    ("data.crop=[64, 100.5]", ["data.crop", "whole number"]),
    ("data.held_out=0", ["train.monitor", "held_out"]),
    ("train.warmup_steps=5", ["warmup_steps", "cosine"]),
    ("train.epochs", ["section.key=value"]),
])
def test_a_wrong_setting_is_named(override, words):
    with pytest.raises(InputError) as caught:
        load_config(None, [override])
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize("text, words", [
    ("train: {epoch: 3}", ["unknown key 'train.epoch'"]), ("train: [1, 2]", ["train"]), ("- 1", ["expected sections"]),
    ("train: {epochs: ", ["not valid YAML"])])
def test_a_wrong_file_is_named(tmp_path, text, words):
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(str(file))
    assert str(file) in str(caught.value) and all(word in str(caught.value) for word in words)


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match="nowhere.yaml"):
        load_config("nowhere.yaml")


def test_windows_need_networks_of_any_size():
    assert load_config(None, ["data.crop=[64, 96]"]).data.trained_size == (64, 96)
    assert load_config(None, ["data.crop=null"]).data.trained_size == (256, 256)
    with pytest.raises(InputError, match="data.crop.*drae"):
        load_config(None, ["data.crop=[64, 96]", "network.bottleneck=drae"])


def test_a_discriminator_that_is_not_trained_does_not_limit_the_picture():
    settings = ["network.widths=[4, 8]", "network.segmenter_widths=[4, 8]", "network.discriminator_widths=[4, 8, 8, 8]"]
    with pytest.raises(InputError, match=r"data.image_size = \[24, 40\]: 24 is not divisible by 16"):
        load_config(None, [*settings, "data.image_size=[24, 40]"])
    free = load_config(None, [*settings, "data.image_size=[24, 40]", "loss.adversarial=0"])
    assert free.data.image_size == (24, 40) and free.network.discriminator_widths == (4, 8, 8, 8)
    with pytest.raises(InputError, match="18 is not divisible by 4"):
        load_config(None, [*settings, "data.image_size=[24, 18]", "loss.adversarial=0"])
    with pytest.raises(InputError, match="loss.adversarial needs network.discriminator_widths"):
        load_config(None, ["network.discriminator_widths=null"])


@pytest.mark.parametrize("off", ["loss.adversarial=0", "loss.encoder=0", "loss.segmentation=0", "network.bottleneck=drae"])
def test_what_the_segmenter_is_shown_must_be_trained(off):
    assert load_config(None, ["network.segmenter_matching=true"]).network.segmenter_matching
    with pytest.raises(InputError, match="network.segmenter_matching needs"):
        load_config(None, ["network.segmenter_matching=true", off])


def test_replace_checks_and_differences_names():
    base = load_config()
    other = replace(base, train__epochs=3)
    assert configuration.differences(base, other) == {"train.epochs": (200, 3)}
    with pytest.raises(InputError, match="train.epochs"):
        replace(base, train__epochs=-1)


def test_the_demo_is_a_short_cpu_run_and_the_gpu_sees_the_same_defects(request):
    cpu, demo, gpu = (load_config(str(request.config.rootpath / "configs" / f"{name}.yaml"))
                      for name in ("cpu", "demo", "gpu"))
    assert list(configuration.differences(cpu, demo)) == ["train.epochs"] and demo.train.epochs < cpu.train.epochs
    assert gpu.noise == cpu.noise and gpu.data.orientation == cpu.data.orientation == "measured"


def test_shipped_configurations_load(request):
    folder = request.config.rootpath / "configs"
    files = sorted(folder.glob("*.yaml"))
    assert {"cpu.yaml", "gpu.yaml", "demo.yaml", "paper.yaml"} <= {file.name for file in files}
    for file in files:
        load_config(str(file))
    paper = load_config(str(folder / "paper.yaml"))
    assert paper.data.image_size == (256, 256) and paper.network.latent == 32
    assert 256 // 2 ** len(paper.network.widths) == 8
    assert (paper.train.learning_rate, paper.train.epochs, paper.train.plateau_alpha) == (1e-4, 200, 0.1)
    assert (paper.train.min_learning_rate, paper.network.discriminator_blocks) == (0, 2)
    for key, value in paper.validation:  # validated on noise of the training's family
        assert key in ("views", "drawn") or value == getattr(paper.noise, key), key
    drae = configuration.differences(paper, load_config(str(folder / "paper_drae.yaml")))
    assert drae == {"network.bottleneck": ("crae", "drae"), "network.latent": (32, 2048)}
