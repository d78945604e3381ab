"""Measure a trained run on labelled pictures: report.json, report.html, predictions.csv, regions.csv and pictures/."""
import argparse
import os
import sys

from ..console import aligned, ended, watched
from ..data import aligning, following, selection
from ..data.records import list_mvtec
from ..errors import InputError
from ..report import report
from ..storage import absolute
from ..training import good_pictures, recorded, run_folder, upright
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet evaluate", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", metavar="RUN", help="run folder that train.py wrote")
    what.add_argument("--compare", metavar="RUN", nargs="+", help="runs that were evaluated, side by side; takes "
                      "--out alone (default: comparison)")
    what.add_argument("--check-data", metavar="DIR", help="look a data folder over before training; see also "
                      "grdnet check")
    parser.add_argument("--data", metavar="DIR", help="data folder in the MVTec layout, or shards (default: the run's "
                        "own); loose parts are turned as the run's were, into RUN/upright-test-DIGEST")
    parser.add_argument("--split", default="test", choices=("test", "train"), help="which pictures (default: test)")
    parser.add_argument("--epoch", metavar="N", type=int, help="the weights that train.keep_epochs kept after epoch N "
                        "(default: the best)")
    parser.add_argument("--out", metavar="OUT", help="folder for the report, replaced whole (default: RUN/evaluation, "
                        "with --epoch RUN/evaluation-epoch-N)")
    parser.add_argument("--roi", metavar="auto|none|FILE|DIR", default="auto",
                        help="auto: DIR/roi if there is one; one file for all pictures; a folder laid out as the data")
    parser.add_argument("--thresholds", metavar="IMAGE[,PIXEL[,LOOK]]",
                        help="max_normal, quantile:Q, target_fpr:P or value:X, judged on the good pictures that the run "
                        "held out, or best_f1:DIR of the test pictures of another data folder; kept in RUN/calibration.json "
                        "(what is not said: as it was made before, at first max_normal,quantile:0.999,target_fpr:0.1). LOOK: "
                        "above it a picture that is not rejected is looked at again; none: nothing is")
    parser.add_argument("--good", metavar="DIR", help="further good pictures to fit thresholds on, that the run was not "
                        "trained on: a folder of pictures, or one in the MVTec layout; loose parts are turned as the run's were")
    parser.add_argument("--min-area", metavar="N", type=int, help="pixels of the least region that counts (default, "
                        "as of the next two: RUN/station.yaml)")
    parser.add_argument("--um-per-pixel", metavar="X", type=float, help="micrometres of a pixel of the pictures' files")
    parser.add_argument("--tiles", metavar="SIZE,OVERLAP",
                        help="predict pictures at their own size, in overlapping tiles")
    parser.add_argument("--disturb", action="store_true", help="also judge the pictures brighter and darker, blurred, "
                        "noisy, shifted, compressed: a table, in the report too; takes 14 times as long")
    flags.batch(parser)
    parser.add_argument("--pictures", metavar="N", type=int, default=200,
                        help="sheets to draw at most, the worst first (default: 200)")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(chosen, parser().parse_args, argv)


def chosen(arguments) -> int:
    """--check-data, --compare or --run."""
    if arguments.check_data:
        from .check import show

        return show(arguments.check_data, quiet=arguments.quiet)
    if arguments.compare:
        from .compare import show as side_by_side

        return side_by_side(arguments.compare, arguments.out, arguments.quiet)
    return run(arguments)


def run(arguments) -> int:
    """Judge run, data and output folder, then import TensorFlow and evaluate: a wrong path is answered at once."""
    tiles = check_flags(arguments)
    config = run_folder.read_config(arguments.run)
    run_folder.weights(arguments.run, arguments.epoch)
    settings = at_this_station(config.station, arguments, tiles)
    own = config.station.replace(um_per_pixel=settings.um_per_pixel)  # the scale changes no decision
    plain = arguments.roi == "auto" and settings == own and arguments.epoch is None  # kept thresholds are of the best
    arguments.roi = run_folder.roi_choice(arguments.run, settings, arguments.roi)
    name = "evaluation" if arguments.epoch is None else f"evaluation-epoch-{arguments.epoch}"
    out = arguments.out or os.path.join(arguments.run, name)
    report.check_target(out)
    root = shown = arguments.data or upright.measured_by_default(config.data.root, arguments.split)
    align, turned = run_folder.upright(arguments.run, config.station), None
    upright.tell_if_gone(config)
    if align:
        turned = upright.measured(arguments.run, align, shown, arguments.split)
        root = turned.root
        if root != shown and arguments.roi not in ("auto", "none", os.path.join(arguments.run, config.station.roi or "")):
            raise InputError(f"--roi {arguments.roi}: {shown} is turned upright, and its regions with it; another one goes "
                             f"with a folder that grdnet align --like {align} made")
        if arguments.good:
            arguments.good = upright.good(arguments.run, align, arguments.good)
    records = selection.test_records(root, arguments.split, config.data, arguments.roi)
    if settings.um_per_pixel and selection.resized_before(records):
        raise InputError(f"{root}: holds pictures that were resized, of which the scale is not known; --um-per-pixel goes "
                         "with shards made with --resize none")
    sources, good = fitting_pictures(arguments, config, root, records)
    from ..evaluation import disturbance, measure
    from ..evaluation.predict import Predictor
    from ..evaluation.thresholds import Limits
    from ..inspection import station
    from ..model.weights import network_arrays
    from ..report import pictures, shots
    from ..storage import fingerprint
    from ..training.building import load_run

    model = load_run(arguments.run, arguments.epoch).model
    has_roi = any(record.roi for record in records)
    predictor = Predictor(model, arguments.batch, settings.tiles, config.data.white)
    weights = fingerprint(network_arrays(model))
    thresholds = find_thresholds(arguments, predictor, sources, good, has_roi, weights, settings, plain)
    um = settings.um_per_pixel
    if um and align:
        um /= aligning.read(align).scale  # of the files as they came
    scale = predictor.um_per_pixel(records, um) if um else None
    batches = watched(predictor.batches(records), "pictures", len(records), lambda batch: len(batch["index"]))
    result = measure.evaluate(predictor.predict, batches, records, pool=predictor.pool, thresholds=thresholds,
                              min_area=settings.min_area, um_per_pixel=scale, sees_roi=predictor.sees_roi)
    result.report.update(run=os.path.abspath(arguments.run), data=absolute(shown), split=arguments.split,
                         turned=absolute(root) if root != shown else None,
                         roi="auto" if plain else getattr(arguments.roi, "roi", arguments.roi),
                         station=station.settings(settings, arguments.run) if plain else None,
                         min_area=settings.min_area, epoch=arguments.epoch,
                         um_per_pixel=settings.um_per_pixel, image_size=list(model.image_size),
                         tiles=settings.tiles and ",".join(map(str, settings.tiles)), weights_sha256=weights,
                         map=getattr(model, "map_note", None), part=followed(records))
    disturbed = disturbance.effects(
        predictor, records, thresholds, settings.min_area, lambda batches: watched(
            batches, "disturbed pictures", len(records), lambda batch: len(batch["index"]))) if arguments.disturb else []
    result.report["disturbed"] = [one._asdict() for one in disturbed] or None
    seen_before(result.report, arguments, records)
    if turned and turned.lost:
        file, why = turned.lost[0]
        result.report["warnings"].append(f"{len(turned.lost)} pictures are not measured: {why}; the first is {file}")
    if result.report["part"] and following.lost(records):
        result.report["warnings"].append("the part is not found in {} of {} pictures, where the region stays as it was "
                                         "drawn".format(len(following.lost(records)), len(records)))
    chosen = report.most_telling(result.rows, records, arguments.pictures, thresholds)
    least = measure.Least.of(settings.min_area, thresholds)
    limits, pixel_level = Limits.of(thresholds, has_roi), thresholds.get("pixel" + "_roi" * has_roi, {}).get("value")

    def drawn():
        for seen in watched(predictor.scan(chosen, least), "sheets", len(chosen)):
            smooth = predictor.smooth(seen)
            sheet = pictures.draw_sheet(seen, smooth, pixel_level, predictor.pool or 1, settings.min_area, limits=limits)
            yield as_it_came(seen.record), sheet, shots.shot(seen, smooth, pixel_level, settings.min_area,
                                                            config.data.white)

    def as_it_came(record):
        """The record of the user's own file, where its part was turned."""
        return record._replace(image=turned.files[record.image]) if turned and turned.files else record

    rows = [row._replace(path=as_it_came(record).image) for row, record in zip(result.rows, records)]
    report.write(out, result._replace(rows=rows), drawn())
    if not arguments.quiet:
        print(report.table(result.report))
        if result.report["map"]:
            print(f"the anomaly map is {result.report['map']}")
        if result.report["part"]:
            print("the region follows the part, found in {found} of {of} pictures".format(**result.report["part"]))
        if disturbed:
            print(aligned(disturbance.lines(disturbed)))
        print(f"report: {out}")
    for line in result.report["warnings"]:
        print(f"warning: {line}", file=sys.stderr)
    return 0


def followed(records):
    """In how many pictures the part was found, where the region goes with it; else None."""
    asked = [record for record in records if isinstance(record.roi, following.Following)]
    return {"found": len(asked) - len(following.lost(asked)), "of": len(asked)} if asked else None


def seen_before(found, arguments, records):
    """Say in the report which of the pictures shaped the weights: as good ones, or as defects of the noise."""
    known = recorded.seen(recorded.read(arguments.run), records)
    found["seen_in_training"] = [{"path": record.image, "sha256": sha256, "as": part} for record, part, sha256 in known]
    if known and arguments.split == "test":
        defects = sum(part == recorded.NOISE or record.label for record, part, _ in known)
        found["warnings"].append(
            f"{len(known)} of the {len(records)} pictures served in training, {len(known) - defects} as good ones and "
            f"{defects} as a source of its defects: the figures flatter; the first is {known[0][0].image}")


def check_flags(arguments):
    """InputError for a number out of range; (side, overlap) of --tiles, or None."""
    flags.at_least(arguments, batch=1, pictures=0, min_area=1)
    if arguments.um_per_pixel is not None and not 0 < arguments.um_per_pixel < float("inf"):
        raise InputError(f"--um-per-pixel {arguments.um_per_pixel}: expected more than 0")
    if arguments.tiles is None:
        return None
    parts = arguments.tiles.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts) or int(parts[1]) >= int(parts[0]):
        raise InputError(f"--tiles {arguments.tiles}: expected SIZE,OVERLAP in pixels, OVERLAP less than SIZE")
    return int(parts[0]), int(parts[1])


def at_this_station(station, arguments, tiles):
    """The run's own settings, with what the flags say instead."""
    said = {"min_area": arguments.min_area, "um_per_pixel": arguments.um_per_pixel, "tiles": tiles}
    return station.replace(**{name: value for name, value in said.items() if value is not None})


def methods(arguments):
    """(of images, of pixels, of looking again) as --thresholds says; None for what it does not."""
    from ..evaluation.thresholds import checked_look
    from ..evaluation.thresholds import parse as parse_method

    image, pixel, look = ((arguments.thresholds or "").split(",", 2) + ["", ""])[:3]
    for method in filter(None, (image, pixel)):
        parse_method(method)
    return image or None, pixel or None, look and checked_look(look) or None


def fitting_pictures(arguments, config, root, records):
    """({best_f1:DIR: (its pictures, what they are in words)}, the good ones for all others or None).

    None of them is reported on; with --split train, which reports on good ones, there are none.
    """
    if arguments.split == "train":
        for flag in ("thresholds", "good"):
            if getattr(arguments, flag):
                raise InputError(f"--{flag} {getattr(arguments, flag)} does not go with --split train: thresholds are "
                                 "fitted on part of what that reports on")
        return {}, None
    asked, sources = methods(arguments)[:2], {}
    for method in asked:
        if method and method.startswith("best_f1:"):
            other = method.partition(":")[2]
            align = run_folder.upright(arguments.run, config.station)
            if align:
                aligning.check(align, list_mvtec(other, "test"), other)
            chosen = selection.test_records(other, "test", config.data, arguments.roi)
            defective = sum(record.label for record in chosen)
            sources[method] = chosen, f"{len(chosen)} test images, {defective} of them defective, of {other}"
            selection.check_apart(chosen, records)
    if set(asked) <= set(sources):
        return sources, None
    good = good_pictures.find(arguments.run, config, root, arguments.good, arguments.roi)
    selection.check_apart(good.records, records)
    return sources, good


def find_thresholds(arguments, predictor, sources, good, has_roi, weights, settings, plain):
    """What is kept with the run, if nothing else is asked for; else fitted, and kept if it is from good pictures."""
    from ..evaluation import calibration
    from ..inspection import station

    under = station.settings(settings, arguments.run)
    if arguments.split == "train":
        return {}
    if arguments.thresholds is None and arguments.good is None and plain:
        kept = calibration.load(arguments.run, weights, under)
        fit_inside = has_roi and any(record.roi for record in good.records)
        if kept and ("image_roi" in kept or not fit_inside):
            return kept
    *asked, look = calibration.methods(arguments.run, weights, methods(arguments))
    pictures = {method: sources[method] if method in sources else (good.records, good.words) for method in asked}
    if not all(records for records, _ in pictures.values()):
        if arguments.thresholds:
            raise InputError(f"--thresholds {arguments.thresholds}: the run held out no good pictures to fit it on; "
                             "--good DIR names some")
        return {}
    found = calibration.fit(predictor, pictures, *asked, look, min_area=settings.min_area)
    if plain and not sources:
        if good.keep:
            calibration.keep(arguments.run, found, weights, good.sha256, under)
        else:
            print(f"thresholds: fitted on {good.words}; not kept with the run", file=sys.stderr)
    return found
