"""Turn a trained run into a versioned SavedModel for TensorFlow Serving, checked against the run before it is seen."""
import argparse
import os

from .. import config as configuration
from ..console import ended
from ..data import turning
from ..data.files import MAX_PIXELS
from ..errors import ExportStopped, InputError
from ..options import FUSED_HINT
from ..report import report
from ..serving import bundle, layouts, publish, server_files
from ..serving.names import MAY_BE_DEFAULT
from ..storage import read_arrays, read_json
from ..training import run_folder
from . import flags

MEASURED_ON = ("data", "split", "roi", "tiles", "image_size")  # what the figures of an evaluation's report hold for


def parser():
    parser = argparse.ArgumentParser(prog="grdnet export", description=__doc__)
    parser.add_argument("--run", metavar="RUN", required=True, help="run folder that train.py wrote")
    parser.add_argument("--out", metavar="DIR", default="exports",
                        help="what a server shares: DIR/<name>/<version> and DIR/serving (default: exports)")
    parser.add_argument("--name", metavar="NAME", help="the model's name (default: that of the run's data folder)")
    parser.add_argument("--version", metavar="N", type=int, help="whole number that is not there (default: the next)")
    parser.add_argument("--format", metavar="F,...", default="saved_model", help="saved_model is always written; onnx "
                        "and tftrt (TensorRT engines for this machine's GPU) are made from it (default: saved_model)")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32",
                        help="of onnx and tftrt; the export stops where scores or decisions change too much")
    parser.add_argument("--calibration-data", metavar="DIR", help="data folder in the MVTec layout: int8 is calibrated "
                        "on its good pictures, fp16 and int8 are compared with fp32 on its test pictures")
    parser.add_argument("--image-size", metavar="H,W", help="size that pictures are resized to, with thresholds fitted "
                        "anew for it (default: as trained)")
    parser.add_argument("--batch-sizes", metavar="N,...", default="1,8",
                        help="of the signatures static_b<N>, whose shapes are fixed, for TensorRT (default: 1,8)")
    parser.add_argument("--default-signature", metavar="NAME", default=MAY_BE_DEFAULT[0], choices=MAY_BE_DEFAULT,
                        help="what a server calls that knows one signature only (SageMaker), or names none: "
                        f"{', '.join(MAY_BE_DEFAULT[1:])}; floats with their map are serve_float then (default: those)")
    parser.add_argument("--max-pixels", metavar="N", type=int, default=MAX_PIXELS, help="a picture file that claims "
                        f"more is refused before it is decoded (default: {MAX_PIXELS:_})")
    parser.add_argument("--layout", metavar="NAME,...", help="also DIR/layouts/NAME, what another server wants around the "
                        "model: " + ", ".join(layouts.WRITERS))
    parser.add_argument("--bundle", metavar="FILE", help="also one tar of the version, the server's settings for it and "
                        "the client, for a machine without a network; `grdnet verify FILE` checks it there")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    """Judge flags, run and target, then import TensorFlow and export: a wrong path is answered at once."""
    batch_sizes = numbers("--batch-sizes", arguments.batch_sizes)
    extra = extra_formats(arguments)
    wanted = [part.strip() for part in arguments.layout.split(",")] if arguments.layout else []
    layouts.check(wanted, extra, arguments.default_signature)
    flags.at_least(arguments, max_pixels=1)
    config = run_folder.read_config(arguments.run)
    if "onnx" in extra and config.station.min_area > 1 and config.station.tiles is None:
        from ..serving.least_area import LARGEST  # TensorFlow, which a plain export waits for later

        if config.station.min_area > LARGEST:
            raise InputError(f"--format onnx goes with station.min_area up to {LARGEST}, found "
                             f"{config.station.min_area}: beyond, regions are followed in a loop, which tf2onnx cannot convert")
    size = picture_size(arguments, config)
    name = arguments.name or default_name(config)
    server_files.check(arguments.out, name)
    if arguments.bundle and not os.path.isdir(os.path.dirname(os.path.abspath(arguments.bundle))):
        raise InputError(f"--bundle {arguments.bundle}: no such folder")
    if arguments.bundle and os.path.isdir(arguments.bundle):
        raise InputError(f"--bundle {arguments.bundle}: is a folder, expected a file")
    version = publish.free_version(os.path.join(arguments.out, name), arguments.version)
    for batch in batch_sizes if "tftrt" in extra else ():
        publish.free_version(os.path.join(arguments.out, f"{name}_tftrt_b{batch}"), version)
    check_weights(arguments.run)
    from ..inspection import station
    from ..serving import export
    from ..serving.convert import formats, judge
    from ..training.building import load_run

    pictures = judge.find(arguments.calibration_data, config.data.white) if arguments.calibration_data else None
    for form in extra:
        formats.FORMATS[form]()
    model = load_run(arguments.run).model
    tiled = config.station.tiles is not None
    thresholds = station.thresholds(arguments.run, config, model, None if tiled else size)
    options = export.Options(size, batch_sizes, arguments.max_pixels, extra, arguments.precision, pictures,
                             config.data.white, arguments.default_signature,
                             *station.served(arguments.run, config, size))
    told = about(arguments.run, config, model)
    try:
        finals = export.export(model, thresholds, arguments.out, name, version, options, told)
    except ExportStopped as error:
        raise ExportStopped(f"{error}; nothing was published") from error
    lines = [f"exported: {final}" for final in finals]
    if config.station.follow:
        lines.append("the served graph does not move the region with the part, it judges the whole picture; grdnet predict "
                     "--model moves it")
    if config.station.align:
        lines.append("the served graph takes pictures that lie upright, as grdnet align makes them; grdnet predict --model "
                     "turns them by itself")
    if "onnx" in extra:
        path = os.path.join(finals[0], formats.ONNX)
        lines.append("TensorRT engine, on the machine with the GPU: " + formats.onnx.trtexec(
            path, size, model.channels, batch_sizes, arguments.precision))
    lines += [f"layout: {folder}" for folder in layouts.write(wanted, arguments.out, finals[0])]
    if arguments.bundle:
        bundle.write(arguments.bundle, finals)
        lines.append(f"bundle: {arguments.bundle}")
    lines.append(f"how to serve it: {os.path.join(arguments.out, server_files.FOLDER, 'README.md')}")
    if not arguments.quiet:
        print("\n".join(lines))
    return 0


def extra_formats(arguments):
    """What --format asks for beside the SavedModel. InputError where it does not go with the other flags."""
    formats = list(dict.fromkeys(part.strip() for part in arguments.format.split(",")))
    for name in formats:
        if name not in ("saved_model", "onnx", "tftrt"):
            raise InputError(f"--format {arguments.format}: expected some of saved_model, onnx, tftrt")
    extra = tuple(name for name in formats if name != "saved_model")
    lower = arguments.precision != "fp32"
    if lower and not extra:
        raise InputError(f"--precision {arguments.precision} is for --format onnx and tftrt; the SavedModel stays fp32")
    if lower and not arguments.calibration_data:
        raise InputError(f"--precision {arguments.precision} needs --calibration-data DIR, to compare it with fp32 on")
    if arguments.calibration_data and not lower:
        raise InputError("--calibration-data is for --precision fp16 and int8")
    return extra


def numbers(flag, text):
    """The distinct whole numbers of a flag, 1 or more each, in order."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"{flag} {text}: expected whole numbers from 1 on, separated by commas")
    return tuple(sorted({int(part) for part in parts}))


def picture_size(arguments, config):
    """(H, W) of --image-size or as trained. InputError where the network cannot take it."""
    tiles = config.station.tiles
    if tiles is not None and arguments.image_size is not None:
        raise InputError("--image-size does not go with station.tiles: the network is exported for a tile")
    if arguments.image_size is None:
        return config.data.image_size if tiles is None else (tiles[0], tiles[0])
    parts = arguments.image_size.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"--image-size {arguments.image_size}: expected H,W in pixels")
    size = tuple(int(part) for part in parts)
    if size != config.data.image_size and (config.one_size or config.features.fused):
        what = "a network with the dense bottleneck (drae)" if config.method == "grdnet" else f"method: {config.method}"
        what, hint = ("features.fused", FUSED_HINT) if config.features.fused else (what, "")
        raise InputError(f"--image-size {arguments.image_size}: {what} takes pictures of "
                         f"{','.join(map(str, config.data.image_size))} only{hint}")
    try:
        return configuration.replace(config, data__image_size=size).data.image_size
    except InputError as error:
        raise InputError(f"--image-size {arguments.image_size}: {error}") from None


def default_name(config):
    """The data folder's name as far as a server and a shell take it, or "grdnet"."""
    root = config.data.root or ""
    folder = os.path.basename(os.path.normpath(turning.source(root) or root))
    name = "".join(character if character.isascii() and character.isalnum() or character in "_-." else "_"
                   for character in folder).lstrip("_-.")
    return name if name and name != server_files.FOLDER else "grdnet"


def check_weights(run):
    """InputError if the run has no weights yet or they are damaged, before TensorFlow is imported."""
    read_arrays(run_folder.weights(run))


def about(run, config, model):
    """What the manifest says of the run: configuration, weights, the last evaluation of these weights, the versions."""
    from ..model.weights import network_arrays
    from ..storage import fingerprint

    metrics, weights = None, fingerprint(network_arrays(model))
    report.restore(os.path.join(run, "evaluation"))
    path = os.path.join(run, "evaluation", report.REPORT)
    if os.path.isfile(path):
        try:
            found = read_json(path)
            if found.get("weights_sha256") == weights:  # else it tells of other weights: the run was trained on since
                metrics = {key: found[key] for key in MEASURED_ON}
                metrics.update((key, value) for key, value in found.items() if isinstance(value, (int, float)))
        except (OSError, ValueError, KeyError, AttributeError):
            raise InputError(f"{path}: damaged; run grdnet evaluate again, or delete it") from None
    environment = run_folder.environment()
    del environment["arguments"]
    return {"run": os.path.basename(os.path.abspath(run)), "weights_sha256": weights,
            "config": config.model_dump(), "metrics": metrics, "environment": environment}
