"""What a run can be told: frozen dataclasses filled from defaults, then a YAML file, then `--set section.key=value`.

An unknown key, a wrong type or a value out of range is an `InputError` that names the key and its source. Below the
command line tools nobody sees these classes: `runs.build_model` turns them into plain arguments.
"""
from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Sequence, Tuple

import yaml

from .errors import InputError


def option(default, *, low=None, high=None, choices=None, length=None, optional=False):
    """A dataclass field: its kind is that of `default`, of None a text; `length` is that of a tuple of one type."""
    rules = dict(low=low, high=high, choices=choices, length=length, optional=optional)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=dict(rules, kind=dict))
    kind = type(default) if default is not None else tuple if length else str
    return field(default=default, metadata=dict(rules, kind=kind))


@dataclass(frozen=True)
class Data:
    root: Optional[str] = option(None, optional=True)                  # the data folder; `--data` sets it
    image_size: Tuple[int, ...] = option((256, 256), low=8, length=2)  # (H, W) every picture is resized to
    crop: Optional[Tuple[int, ...]] = option(None, low=8, length=2, optional=True)  # (h, w) of the windows trained on
    channels: str = option("auto", choices=("auto", "1", "3"))         # auto: as the pictures are
    held_out: float = option(0.1, low=0.0, high=0.5)                   # share of train/good kept for validation
    cache: str = option("auto", choices=("auto", "ram", "none"))
    cache_gb: float = option(4.0, low=0.0)                             # what `auto` may take
    rotation: float = option(1.5707963, low=0.0, high=3.1415927)       # augmentation turns by [-rotation, rotation] rad
    turned: float = option(1.0, low=0.0, high=1.0)                     # share of the pictures that are turned
    flip_horizontal: bool = option(True)
    flip_vertical: bool = option(True)
    orientation: str = option("any", choices=("any", "measured"))      # measured: turns, flips as far as good ones vary
    border: str = option("reflect", choices=("reflect", "constant", "nearest", "wrap"))
    on_bad_image: str = option("error", choices=("error", "skip"))
    max_skipped: float = option(0.05, low=0.0, high=1.0)               # share of skipped pictures that stops the run
    parallel_calls: int = option(0, low=0)                             # 0: tf.data decides

    @property
    def trained_size(self) -> Tuple[int, int]:
        """(H, W) of what a training step sees."""
        return self.crop or self.image_size


@dataclass(frozen=True)
class Noise:
    place: str = option("auto", choices=("auto", "device", "host"))    # auto: device with a GPU, else host
    probability: float = option(0.5, low=0.0, high=1.0)                # share of disturbed pictures
    threshold: Tuple[float, ...] = option((0.2, 0.6), low=-1.0, high=1.0, length=2)
    scales: Tuple[int, ...] = option((0, 5), low=0, high=5, length=2)  # lattice cells per axis: 2^low .. 2^high
    min_area: int = option(8, low=0)                                   # pixels; a smaller mask is emptied
    opacity: Tuple[float, ...] = option((0.2, 1.0), low=0.0, high=1.0, length=2)
    contrast: float = option(0.0, low=0.0)                             # to stand out by, in local standard deviations
    blurred: float = option(0.0, low=0.0, high=1.0)                    # share of defects blurred as by optics
    grain: float = option(0.0, low=0.0, high=1.0)                      # share under which the picture's noise goes on
    soft_edges: float = option(0.0, low=0.0, high=1.0)                 # share of defects that fade towards their edge
    matched: float = option(0.0, low=0.0, high=1.0)                    # share of pasted defects of the covered colour
    defects: int = option(1, low=1)                                    # in one disturbed picture, at most
    rotation: float = option(1.5707963, low=0.0, high=3.1415927)       # rad, of the noise
    within_roi: float = option(0.0, low=0.0, high=1.0)                 # share of defects inside the ROI; others anywhere
    sources: Dict[str, float] = option({"color_blob": 1.0}, low=0.0)   # name: weight, see anomaly_sources.py
    shapes: Dict[str, float] = option({"blob": 1.0}, low=0.0)          # name: weight, see anomaly_shapes.py
    textures: Optional[str] = option(None, optional=True)              # folder, for the source `texture`


@dataclass(frozen=True)
class Validation:
    """The fixed synthetic defects on the held-out pictures: on purpose another family than the training noise."""
    views: int = option(64, low=1)                                     # disturbed pictures, at least
    probability: float = option(0.7, low=0.0, high=1.0)
    threshold: Tuple[float, ...] = option((0.4, 0.7), low=-1.0, high=1.0, length=2)
    scales: Tuple[int, ...] = option((2, 4), low=0, high=5, length=2)
    min_area: int = option(8, low=0)
    opacity: Tuple[float, ...] = option((0.3, 1.0), low=0.0, high=1.0, length=2)
    blurred: float = option(1.0, low=0.0, high=1.0)                    # as optics blur: sharp ones flatter a network
    sources: Dict[str, float] = option({"cut_paste": 1.0, "shade": 1.0, "color_image": 1.0}, low=0.0)
    shapes: Dict[str, float] = option({"line": 1.0, "spot": 1.0, "rectangle": 1.0}, low=0.0)


@dataclass(frozen=True)
class Network:
    widths: Tuple[int, ...] = option((32, 64, 128, 256, 512), low=1)   # one stage each, stride 2
    stem: int = option(32, low=0)                                      # width at full resolution; 0: start at stride 2
    blocks: int = option(2, low=1)                                     # residual blocks a stage (Fig. 5)
    latent: int = option(32, low=1)                                    # channels (crae) or units (drae) of z
    bottleneck: str = option("crae", choices=("crae", "drae"))
    residual: bool = option(True)                                      # False: the vanilla autoencoder of Table 1
    batch_norm: bool = option(True)
    discriminator_widths: Tuple[int, ...] = option((32, 64, 128, 256, 512), low=1)
    segmenter_widths: Tuple[int, ...] = option((32, 64, 128, 256, 512), low=1)
    segmenter_stride: int = option(1, choices=(1, 2))                  # 2: the U-Net starts at half resolution
    segmenter_difference: bool = option(False)                         # show the U-Net |X - X^| too
    score_pool: int = option(21, low=1)                                # pixels, odd; the score is the pooled map's max


@dataclass(frozen=True)
class Loss:
    adversarial: float = option(1.0, low=0.0)                          # w1, w2, w3 of eq. 2
    contextual: float = option(50.0, low=0.0)
    encoder: float = option(1.0, low=0.0)
    l1: float = option(1.0, low=0.0)                                   # wa, wb of eq. 1
    l2: float = option(0.0, low=0.0)                                   # weight of a mean squared difference beside them
    ssim: float = option(1.0, low=0.0)
    encoder_norm: str = option("l2", choices=("l1", "l2"))
    segmentation: float = option(1.0, low=0.0)
    roi_reading: str = option("masked_target", choices=(
        "masked_target", "intersection", "overlap", "intersection_overlap", "intersection_negated_overlap"))
    overlap: float = option(1.0, low=0.0, high=1.0)                    # w of eq. 8
    focal_gamma: float = option(2.0, low=0.0)
    focal_alpha: Optional[float] = option(None, low=0.0, high=1.0, optional=True)
    segmentation_to_generator: bool = option(False)                    # whether its gradient reaches the generator


@dataclass(frozen=True)
class Train:
    epochs: int = option(200, low=1)
    steps_per_epoch: int = option(0, low=0)                            # 0: one pass over the training pictures
    batch_size: int = option(16, low=1)
    learning_rate: float = option(1e-4, low=0.0)
    beta_1: float = option(0.9, low=0.0, high=1.0)
    clip_norm: float = option(0.0, low=0.0)                            # global norm per network; 0: off
    ema: float = option(0.0, low=0.0, high=0.99999)                    # decay of the averaged weights; 0: off
    schedule: str = option("plateau", choices=("plateau", "cosine"))   # cosine: to min_learning_rate at the last step
    warmup_steps: int = option(0, low=0)                               # linear, with the cosine schedule
    plateau_patience: int = option(3, low=1)                           # epochs
    plateau_alpha: float = option(0.1, low=0.0)                        # eq. 7: lr <- lr * exp(-alpha)
    min_learning_rate: float = option(1e-6, low=0.0)
    monitor: str = option("val_segmentation", choices=(
        "val_segmentation", "val_image_auroc", "val_pixel_ap", "val_loss", "val_generator", "loss", "segmentation"))
    early_stopping: int = option(0, low=0)                             # epochs without a better monitor; 0: off
    checkpoint_steps: int = option(0, low=0)                           # also within an epoch; 0: at its end only
    seed: int = option(0, low=0, high=2**31 - 1)
    precision: str = option("float32", choices=("float32", "mixed_float16", "mixed_bfloat16"))
    jit: str = option("auto", choices=("auto", "on", "off"))           # XLA; auto: on a GPU only
    deterministic: bool = option(False)
    strategy: str = option("none", choices=("none", "mirrored", "multiworker"))
    image_every: int = option(5, low=0)                                # epochs between picture strips; 0: none


@dataclass(frozen=True)
class Config:
    data: Data = field(default_factory=Data)
    noise: Noise = field(default_factory=Noise)
    validation: Validation = field(default_factory=Validation)
    network: Network = field(default_factory=Network)
    loss: Loss = field(default_factory=Loss)
    train: Train = field(default_factory=Train)


def load_config(file: Optional[str] = None, overrides: Sequence[str] = ()) -> Config:
    """Defaults, then `file` (YAML), then `overrides` ("section.key=value"; the value is YAML)."""
    changes = []
    if file is not None:
        changes += [(key, value, file) for key, value in _flatten(_read_yaml(file), file)]
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: expected section.key=value")
        try:
            changes.append((key.strip(), yaml.safe_load(value), "--set"))
        except yaml.YAMLError:
            raise InputError(f"--set {text}: the value is not valid YAML") from None
    sections = {section.name: {} for section in dataclasses.fields(Config)}
    for key, value, source in changes:
        section, name, rules = _find(key, source)
        sections[section][name] = _coerce(value, rules, key, source)
    built = {s.name: s.default_factory(**sections[s.name]) for s in dataclasses.fields(Config)}
    return _cross_check(Config(**built))


def replace(config: Config, **values) -> Config:
    """A copy with `section__key=value` changed; values are checked as those of a file are."""
    for name, value in values.items():
        section, key = name.split("__", 1)
        section, key, rules = _find(f"{section}.{key}", "program")
        part = dataclasses.replace(getattr(config, section),
                                   **{key: _coerce(value, rules, f"{section}.{key}", "program")})
        config = dataclasses.replace(config, **{section: part})
    return _cross_check(config)


def differences(a: Config, b: Config) -> Dict[str, Tuple[Any, Any]]:
    """{"section.key": (value in a, value in b)} of all keys that differ."""
    flat = [{f"{s}.{k}": v for s, values in dataclasses.asdict(c).items() for k, v in values.items()} for c in (a, b)]
    return {key: (value, flat[1][key]) for key, value in flat[0].items() if value != flat[1][key]}


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML that `load_config` reads back to an equal one."""
    def plain(value):
        return list(value) if isinstance(value, tuple) else value
    sections = {s: {k: plain(v) for k, v in values.items()} for s, values in dataclasses.asdict(config).items()}
    return yaml.safe_dump(sections, sort_keys=False, default_flow_style=None)


def _read_yaml(file: str) -> Dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as stream:
            content = yaml.safe_load(stream)
    except OSError as error:
        raise InputError(f"config {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"config {file}: not valid YAML" + (f" (line {mark.line + 1})" if mark else "")) from None
    if not isinstance(content or {}, dict):
        raise InputError(f"config {file}: expected sections with keys, found {type(content).__name__}")
    return content or {}


def _flatten(content, source):
    for section, values in content.items():
        if not isinstance(values, dict):
            _find(str(section) + ".", source)
            raise InputError(f"config {source}: section '{section}' needs keys, found {values!r}")
        for key, value in values.items():
            yield f"{section}.{key}", value


def _find(key: str, source: str):
    known = {f"{s.name}.{f.name}": (s.name, f.name, f.metadata)
             for s in dataclasses.fields(Config) for f in dataclasses.fields(s.default_factory)}
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    raise InputError(f"{source}: unknown key '{key}'; the nearest is '{near[0]}'")


def _coerce(value, rules, key, source):
    kind = rules["kind"]
    if value is None and rules["optional"]:
        return None
    if kind is tuple:
        if not isinstance(value, (list, tuple)) or not value or rules["length"] not in (None, len(value)):
            raise InputError(f"{source}: {key} = {value!r}; expected a list of "
                             f"{rules['length'] or 'one or more'} numbers")
        element = float if key.endswith((".threshold", ".opacity")) else int
        return tuple(_number(v, element, rules, key, source) for v in value)
    if kind is dict:
        if not isinstance(value, dict) or not value:
            raise InputError(f"{source}: {key} = {value!r}; expected name: weight pairs")
        return {str(k): _number(v, float, rules, key, source) for k, v in value.items()}
    if kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{source}: {key} = {value!r}; expected true or false")
        return value
    if kind is str and rules["low"] is None:
        if rules["choices"]:
            if value is True or value is False:  # YAML reads a bare on / off as a boolean
                value = "on" if value else "off"
            if str(value) not in rules["choices"]:
                raise InputError(f"{source}: {key} = {value!r}; expected one of {', '.join(rules['choices'])}")
            return str(value)
        if not isinstance(value, str):
            raise InputError(f"{source}: {key} = {value!r}; expected text")
        return value
    return _number(value, int if kind is int else float, rules, key, source)


def _number(value, kind, rules, key, source):
    name = "a whole number" if kind is int else "a number"
    try:  # YAML 1.1 reads 1e-4 as text
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if number != number or (kind is int and number != int(number)):
        raise InputError(f"{source}: {key} = {value!r}; expected {name}")
    low, high, choices = rules["low"], rules["high"], rules["choices"]
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InputError(f"{source}: {key} = {value!r}; expected {name} {bounds}")
    if choices and number not in choices:
        raise InputError(f"{source}: {key} = {value!r}; expected one of {', '.join(map(str, choices))}")
    return kind(number)


def _cross_check(config: Config) -> Config:
    data, network = config.data, config.network
    stride = 2 ** max(len(network.widths), len(network.discriminator_widths),
                      len(network.segmenter_widths) - 1 + (network.segmenter_stride == 2))
    for name, sides in (("image_size", data.image_size), ("crop", data.crop or ())):
        for side in sides:
            if side % stride:
                raise InputError(f"data.{name} = {list(sides)}: {side} is not divisible by {stride}, the total stride "
                                 "of network.widths, discriminator_widths and segmenter_widths")
    if data.crop and (data.crop[0] > data.image_size[0] or data.crop[1] > data.image_size[1]):
        raise InputError(f"data.crop = {list(data.crop)} is larger than data.image_size = {list(data.image_size)}")
    if data.crop and network.bottleneck == "drae":
        raise InputError("data.crop goes with network.bottleneck: crae; a dense layer (drae) takes one size only")
    for section in ("noise", "validation"):
        for key in ("threshold", "scales", "opacity"):
            low, high = getattr(getattr(config, section), key)
            if low > high:
                raise InputError(f"{section}.{key} = [{low}, {high}]; expected [low, high]")
    if network.score_pool % 2 == 0:
        raise InputError(f"network.score_pool = {network.score_pool}; expected an odd number")
    if config.train.warmup_steps and config.train.schedule != "cosine":
        raise InputError("train.warmup_steps goes with train.schedule: cosine")
    if config.train.deterministic and config.train.jit == "on":
        raise InputError("train.deterministic goes with train.jit: off; XLA has no deterministic gradient of max pooling")
    if config.train.monitor.startswith("val_") and not data.held_out:
        raise InputError(f"train.monitor = {config.train.monitor} needs data.held_out > 0")
    for section in ("noise", "validation"):
        if getattr(config, section).sources.get("texture", 0) > 0 and not config.noise.textures:
            raise InputError(f"{section}.sources names 'texture': noise.textures must name a folder of pictures")
    return config
