"""Fit or set the thresholds of a run on good pictures, and say what that changes."""
import argparse
import csv
import os

from ..console import ended
from ..errors import InputError
from ..report import report
from ..storage import read_json
from ..training import good_pictures, run_folder, upright
from . import flags

KEPT = ("The thresholds are kept in RUN/calibration.json, with those before them; evaluate, predict and export use them. "
        "What no flag names is made anew as it was before, at first by max_normal, quantile:0.999 and target_fpr:0.1.")
NAMED = 10  # pictures whose verdict changes that are named


def parser():
    parser = argparse.ArgumentParser(prog="grdnet calibrate", description=__doc__, epilog=KEPT)
    parser.add_argument("--run", metavar="RUN", required=True, help="run folder that train.py wrote")
    parser.add_argument("--good", metavar="DIR", help="good pictures that the run was not trained on, a folder of them "
                        "or one in the MVTec layout; they join those that the run held out, for this fit")
    parser.add_argument("--only", action="store_true", help="fit on --good alone")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--target-fpr", metavar="P", type=float, help="the lowest threshold that at most this share of "
                     "the good pictures exceeds")
    how.add_argument("--set", metavar="X", type=float, help="this threshold; the good pictures say what it promises")
    how.add_argument("--method", metavar="M", help="max_normal (the highest good score) or quantile:Q")
    parser.add_argument("--pixel", metavar="M", help="of the pixels, which outline regions: max_normal, quantile:Q, "
                        "target_fpr:P or value:X")
    parser.add_argument("--look", metavar="M", help="of looking again, below the threshold of rejecting: target_fpr:P, "
                        "quantile:Q, value:X, or none")
    flags.batch(parser)
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    """Judge flags and pictures, then import TensorFlow: a wrong path is answered at once."""
    said = methods(arguments)
    config = run_folder.read_config(arguments.run)
    if arguments.only and not arguments.good:
        raise InputError("--only goes with --good DIR")
    flags.at_least(arguments, batch=1)
    upright.tell_if_gone(config)
    align = run_folder.upright(arguments.run, config.station)
    if arguments.good and align:
        arguments.good = upright.good(arguments.run, align, arguments.good)
    roi = run_folder.roi_choice(arguments.run, config.station)
    good = good_pictures.find(arguments.run, config, None, arguments.good, roi)
    if arguments.only:
        good = good._replace(held_out=[])
    if not good.records:
        raise InputError(f"{arguments.run}: held out no good pictures; --good DIR names some")
    from ..evaluation import calibration
    from ..evaluation.predict import Predictor
    from ..inspection import station
    from ..model.weights import network_arrays
    from ..storage import fingerprint
    from ..training.building import load_run

    model = load_run(arguments.run).model
    weights, under = fingerprint(network_arrays(model)), station.settings(config.station, arguments.run)
    before = calibration.load(arguments.run, weights, under)
    predictor = Predictor(model, arguments.batch, config.station.tiles, config.data.white)
    source = (good.records, good.words)
    image, pixel, look = calibration.methods(arguments.run, weights, said)
    found = calibration.fit(predictor, {image: source, pixel: source}, image, pixel, look, config.station.min_area)
    calibration.keep(arguments.run, found, weights, good.sha256, under)
    if not arguments.quiet:
        for line in [*told(before, found), *consequences(arguments.run, weights, under, found)]:
            print(line)
    return 0


def methods(arguments):
    """(of the score, of the pixels, of looking again); None for what is not said. InputError for one that is none."""
    from ..evaluation.thresholds import checked_look
    from ..evaluation.thresholds import parse as parse_method

    image = arguments.method
    for flag, name, value in (("--target-fpr", "target_fpr", arguments.target_fpr), ("--set", "value", arguments.set)):
        if value is not None:
            image = f"{name}:{value!r}"
    for method in filter(None, (image, arguments.pixel)):
        if parse_method(method)[0] == "best_f1":
            raise InputError(f"{method}: a threshold that is kept is made of good pictures alone; grdnet evaluate "
                             "--thresholds takes this")
    return image, arguments.pixel, arguments.look and checked_look(arguments.look)


def told(before, found):
    """What each threshold was and is, and what it promises."""
    names = {"image": "score", "image_roi": "score inside the ROI", "pixel": "pixels",
             "pixel_roi": "pixels inside the ROI", "look": "look again", "look_roi": "look again, inside the ROI"}
    lines = []
    for name, entry in found.items():
        old = before.get(name, {}).get("value")
        was = "" if old is None else f"{old:.6g} -> "
        promise = ""
        if entry["false_reject_interval"]:
            low, high = entry["false_reject_interval"]
            promise = f": {entry['above']} of {entry['n']} above it, so {low:.1%} to {high:.1%} of good parts (95 %)"
        lines.append(f"{names[name]}: {was}{entry['value']:.6g} by {entry['method']} on {entry['fitted_on']}{promise}")
    return lines


def consequences(run, weights, under, found):
    """How the verdicts of the last evaluation change, if it is of these weights and settings (`station.settings`)."""
    from ..evaluation.thresholds import ACCEPTED, LOOK, REJECTED, Limits

    folder = os.path.join(run, "evaluation")
    report.restore(folder)
    try:
        last = read_json(os.path.join(folder, report.REPORT))
        with open(os.path.join(folder, report.PREDICTIONS), encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        if (last["weights_sha256"], last.get("station")) != (weights, under):
            return [f"{folder}: of other weights or settings; evaluate again to see what changes"]
        inside = "image_roi" in found and last["n_defective_roi"] is not None
        suffix, limits = "_roi" if inside else "", Limits.of(found, inside)
        judged = [(row["path"], int(row["label" + suffix]), row["decision" + suffix],
                   limits.verdict(float(row["score" + suffix]))) for row in rows]
    except (FileNotFoundError, NotADirectoryError):
        return ["not evaluated yet: grdnet evaluate shows what the threshold does"]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{folder}: damaged; evaluate again to see what changes"]
    lines = []
    for label, wrong, what in ((0, REJECTED, "good rejected"), (1, ACCEPTED, "defective missed"),
                               (0, LOOK, "good to look at again"), (1, LOOK, "defective to look at again")):
        chosen = [(then, now) for _, truth, then, now in judged if truth == label]
        was, now = (sum(one[i] == wrong for one in chosen) for i in (0, 1))
        old = f"{was} -> " if all(then for then, _ in chosen) else ""
        lines.append(f"last evaluation: {what} {old}{now} of {len(chosen)}")
    changed = [(path, then, now) for path, _, then, now in judged if then and then != now]
    lines += [f"  {then} -> {now}: {path}" for path, then, now in changed[:NAMED]]
    return lines + [f"  and {len(changed) - NAMED} more"] * (len(changed) > NAMED)
