"""What a run is told: defaults, then a YAML file and what it is based on, then `--set section.key=value`.

The options stand in `options`; here they are read. An unknown key, a wrong type or a value out of range is an
`InputError` of one line that names the key and where it came from. Printed as docs/configuration.md by
`python -m grdnet_tf.cli.keys`.
"""
from __future__ import annotations

import difflib
import os
from typing import Any, Dict, Optional, Sequence, Tuple

import yaml
from pydantic import Field

from .errors import InputError
from .kinds import OptionError, Section, choice, option
from .options import FITTED, METHODS, READ, Data, Features, Loss, Network, Noise, Origin, Station, Train, Validation

HERE = os.path.dirname(os.path.abspath(__file__))
SHIPPED = (os.path.join(HERE, "configs"), os.path.join(os.path.dirname(HERE), "configs"))  # installed; in a checkout


class Config(Section):
    """All sections; `load_config` makes it. Below the commands only training/ sees it."""
    method: choice(*METHODS) = option("grdnet", "the detector; all others are there to compare with, see baselines/")
    data: Data = Field(default_factory=Data)
    noise: Noise = Field(default_factory=Noise)
    validation: Validation = Field(default_factory=Validation)
    network: Network = Field(default_factory=Network)
    loss: Loss = Field(default_factory=Loss)
    features: Features = Field(default_factory=Features)
    train: Train = Field(default_factory=Train)
    origin: Origin = Field(default_factory=Origin)
    station: Station = Field(default_factory=Station)

    @property
    def trained_network(self) -> Network:
        """The sizes without what the losses have no weight for: the discriminator, the segmenter."""
        off = {widths: None for weight, widths in ((self.loss.adversarial, "discriminator_widths"),
                                                   (self.loss.segmentation, "segmenter_widths")) if not weight}
        return self.network.replace(**off)

    @property
    def one_size(self) -> bool:
        """Whether the method knows pictures of data.image_size only; with `features.fused`, what is trained by steps."""
        dense = self.method == "grdnet" and self.network.bottleneck == "drae"
        return dense or self.method in ("ganomaly", "padim")


SECTIONS = {name: field.default_factory for name, field in Config.model_fields.items() if name != "method"}


def load_config(file: Optional[str] = None, overrides: Sequence[str] = (), base: Optional[Config] = None) -> Config:
    """`base` or the defaults, then `file` (a path, or the name of a shipped one), then `overrides`.

    Overrides are "section.key=value", in YAML.
    """
    changes = [] if file is None else _read_file(find(file))
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: expected section.key=value")
        changes.append((key.strip(), _parse(value, f"--set {text}: the value is"), "--set"))
    if base is not None:
        return _build(_values(base), [("method", base.method, "program"), *changes])
    return _build({name: {} for name in SECTIONS}, changes)


def replace(config: Config, **values) -> Config:
    """A copy with `section__key=value` changed; values are checked as those of a file are."""
    changes = [(name.replace("__", ".", 1), value, "program") for name, value in values.items()]
    return _build(_values(config), [("method", config.method, "program"), *changes])


def _values(config):
    return {name: dict(getattr(config, name)) for name in SECTIONS}


def differences(a: Config, b: Config) -> Dict[str, Tuple[Any, Any]]:
    """{"section.key": (value in a, value in b)} of all keys that differ."""
    ours, theirs = flat(a), flat(b)
    return {key: (value, theirs[key]) for key, value in ours.items() if value != theirs[key]}


def flat(config: Config) -> Dict[str, Any]:
    """{"section.key": value}, and {"method": value}."""
    return {"method": config.method, **{f"{section}.{key}": value for section in SECTIONS
                                        for key, value in getattr(config, section)}}


def settings_in_use(config: Config) -> Dict[str, Any]:
    """`flat`, without what the method does not read."""
    unread = {f"{section}.{key}" for section, key in _unread(config)}
    return {key: value for key, value in flat(config).items() if key not in unread}


def to_yaml(config: Config, without: Sequence[str] = ()) -> str:
    """The whole configuration as YAML that `load_config` reads back to an equal one; it needs no base.

    `without`: sections that are left out.
    """
    content = config.model_dump(mode="json", exclude=set(without))
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None)


def find(file: str) -> str:
    """The path of a configuration: `file` itself, or "cpu" for the shipped cpu.yaml."""
    if os.path.isfile(file) or os.path.dirname(file) or file.endswith((".yaml", ".yml")):
        return file
    if file not in shipped():
        raise InputError(f"config {file}: neither a file nor a shipped configuration, which are {', '.join(shipped())}")
    return shipped()[file]


def shipped() -> Dict[str, str]:
    """{"cpu": its path, ...} of the configurations that come with the product."""
    return {os.path.splitext(name)[0]: os.path.join(folder, name) for folder in SHIPPED if os.path.isdir(folder)
            for name in sorted(os.listdir(folder)) if name.endswith(".yaml")}


# Reading --------------------------------------------------------------------------------------------------------------


def _read_file(file: str, above: Tuple[str, ...] = ()):
    """[(section.key, value, file)] of `file`, what its base says first. `above`: the files that are based on it."""
    if os.path.realpath(file) in above:
        raise InputError(f"config {file}: base: goes in a circle")
    content = _read_yaml(file)
    base, found = content.pop("base", None), []
    if base is not None:
        if not isinstance(base, str):
            raise InputError(f"config {file}: base = {base!r}; expected the name of a file beside it")
        path = os.path.join(os.path.dirname(file), base)
        if not os.path.isfile(path):
            if base not in shipped():
                raise InputError(f"config {file}: base: {path} is not there")
            path = shipped()[base]
        found = _read_file(path, (*above, os.path.realpath(file)))
    for section, values in content.items():
        if section == "method":
            found.append((section, values, file))
            continue
        if section not in SECTIONS:
            near = difflib.get_close_matches(str(section), SECTIONS, n=1, cutoff=0.0)
            raise InputError(f"config {file}: unknown section '{section}'; the nearest is '{near[0]}'")
        if not isinstance(values, dict):
            raise InputError(f"config {file}: section '{section}' needs keys, found {values!r}")
        found += [(f"{section}.{key}", value, file) for key, value in values.items()]
    return found


def _read_yaml(file: str) -> Dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
    except OSError as error:
        raise InputError(f"config {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"config {file}: not valid YAML (not UTF-8)") from None
    content = _parse(text, f"config {file}:")
    if not isinstance(content or {}, dict):
        raise InputError(f"config {file}: expected sections with keys, found {type(content).__name__}")
    return content or {}


def _parse(text, what):
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{what} not valid YAML" + (f" (line {mark.line + 1})" if mark else "")) from None


def _build(values, changes) -> Config:
    """The configuration of {section: {key: value}} and, over it, of [(section.key, value, source)]."""
    sources = {}
    for name, value, source in changes:
        sources[name] = source
        if name == "method":
            values[name] = value
            continue
        section, key = _section_and_key(name, source)
        values[section][key] = value
    built = {name: values[name] for name in ("method",) if name in values}
    for section, kind in SECTIONS.items():
        try:
            built[section] = kind(**values[section])
        except OptionError as error:
            name = f"{section}.{error.key}"
            raise InputError(f"{sources.get(name, 'config')}: {name} {error.what}") from None
    try:
        return _cross_check(Config(**built))
    except OptionError as error:
        raise InputError(f"{sources['method']}: {error.key} {error.what}") from None


def _section_and_key(name, source):
    known = ["method"] + [f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.model_fields]
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
        raise InputError(f"{source}: unknown key '{name}'; the nearest is '{near[0]}'")
    return name.split(".", 1)


def _cross_check(config: Config) -> Config:
    """What no section can judge by itself."""
    data, train = config.data, config.train
    _refuse_unread(config)
    for key in ("weights", "enlarged", "wavelets"):
        value = getattr(config.features, key)
        if config.features.backbone == "scattering" and value != _default("features", key):
            raise InputError(f"features.{key} = {plain(value)} does not go with features.backbone: "
                             f"scattering, which is no trained network; set it to {plain(_default('features', key))}")
    own, whole = _strides(config)
    for name, sides, (stride, of) in (("image_size", data.image_size, whole), ("crop", data.crop or (), own)):
        for side in (side for side in sides if side % stride):
            raise InputError(f"data.{name} = {list(sides)}: {side} is not divisible by {stride}, {of}")
    if config.method in FITTED:
        return config
    if data.crop and (data.crop[0] > data.image_size[0] or data.crop[1] > data.image_size[1]):
        raise InputError(f"data.crop = {list(data.crop)} is larger than data.image_size = {list(data.image_size)}")
    if data.crop and config.one_size:
        what = "network.bottleneck: drae" if config.method == "grdnet" else f"method: {config.method}"
        raise InputError(f"data.crop does not go with {what}, a dense layer, which takes one size only")
    for key in ("adversarial", "segmentation"):
        widths = "discriminator_widths" if key == "adversarial" else "segmenter_widths"
        if config.method != "ganomaly" and getattr(config.loss, key) and getattr(config.network, widths) is None:
            raise InputError(f"loss.{key} needs network.{widths}; set the one to 0 or the other to widths")
    trained = config.loss.adversarial and config.loss.encoder and config.loss.segmentation
    if config.network.segmenter_matching and (not trained or config.network.bottleneck == "drae"):
        raise InputError("network.segmenter_matching needs loss.adversarial, loss.encoder and loss.segmentation above 0 "
                         "and network.bottleneck: crae; set it to false to go without")
    for key, schedule in (("warmup_steps", "cosine"), ("cosine_epochs", "cosine"), ("rate_epochs", "steps")):
        if getattr(train, key) and train.schedule != schedule:
            raise InputError(f"train.{key} goes with train.schedule: {schedule}")
    if train.deterministic and train.jit == "on":
        raise InputError("train.deterministic goes with train.jit: off; in XLA max pooling has no such gradient")
    if train.monitor.startswith("val_") and not data.held_out:
        raise InputError(f"train.monitor = {train.monitor} needs data.held_out > 0")
    if train.monitor.endswith("segmentation") and (config.method == "ganomaly" or not config.loss.segmentation):
        what = "method: ganomaly" if config.method == "ganomaly" else "loss.segmentation: 0"
        raise InputError(f"train.monitor = {train.monitor} does not go with {what}; val_generator does")
    if config.features.fused is True and not data.held_out:
        raise InputError("features.fused: true needs data.held_out > 0: it is calibrated on good pictures held out; or set "
                         "it to false")
    if data.add_repeat > 1 and not data.add_good:
        raise InputError(f"data.add_repeat = {data.add_repeat}: nothing to repeat; --add-good, or data.add_good, adds it")
    for section in ("noise", "validation"):
        for source, key, what in (("texture", "textures", "a folder of pictures"),
                                  ("real", "real", "a data folder with defects and their masks")):
            if getattr(config, section).sources.get(source, 0) > 0 and not getattr(config.noise, key):
                raise InputError(f"{section}.sources names '{source}': noise.{key} must name {what}")
    return config


def _refuse_unread(config: Config) -> None:
    """InputError for a key that the method does not read and that is set to anything but its default."""
    for section, key in _unread(config):
        value = getattr(getattr(config, section), key)
        if value != _default(section, key):
            raise InputError(f"{section}.{key} = {plain(value)} does not go with method: {config.method}, which "
                             "does not read it")


def _default(section, key):
    return SECTIONS[section].model_fields[key].default


def _unread(config):
    """(section, key) of all that the method does not read."""
    read = READ["fused" if config.features.fused and config.method == "grdnet" else config.method]
    return [(section, key) for section, kind in SECTIONS.items() for key in kind.model_fields
            if read.get(section, ()) is not None and key not in read.get(section, ())]


def _strides(config: Config):
    """What both sides of what is trained on, and of whole pictures, must be divisible by: (number, what it is) of each."""
    network, features = config.network, max(config.features.strides)
    seen = features, "the largest of features.strides"
    if config.method in FITTED:
        return seen, seen
    own = config.trained_network.total_stride, ("the total stride of network.widths, discriminator_widths and "
                                                "segmenter_widths")
    if config.method == "ganomaly":
        own = 2 ** len(network.widths), "2 to the number of network.widths"
    if config.method == "draem":
        levels = max(len(network.widths), len(network.segmenter_widths or ())) - 1
        own = 2 ** levels, "2 to the number of network.widths or segmenter_widths, less one"
    return own, seen if config.features.fused is True and features > own[0] else own


def plain(value) -> str:
    """A default as YAML has it, in one line."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(plain, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {weight:g}" for key, weight in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
