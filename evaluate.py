#!/usr/bin/env python
"""Measure a trained run on labelled pictures: report.json, predictions.csv and pictures of what it found."""
import argparse
import logging
import os
import sys

from grdnet_tf import evaluation_data, report, runs
from grdnet_tf.errors import InputError


def parse(argv):
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__)
    parser.add_argument("--run", metavar="RUN", required=True, help="run folder that train.py wrote")
    parser.add_argument("--data", metavar="DIR", help="data folder in the MVTec layout (default: the run's own)")
    parser.add_argument("--split", default="test", choices=("test", "train"), help="which pictures (default: test)")
    parser.add_argument("--out", metavar="OUT", help="folder for the report, replaced as a whole (default: RUN/evaluation)")
    parser.add_argument("--roi", metavar="auto|none|FILE|DIR", default="auto",
                        help="auto: DIR/roi if there is one; one file for all pictures; a folder laid out as the data")
    parser.add_argument("--batch", metavar="N", type=int, default=8, help="pictures predicted at once (default: 8)")
    parser.add_argument("--pictures", metavar="N", type=int, default=200, help="sheets to draw at most (default: 200)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(arguments) -> int:
    """Judge run, data and output folder, then import TensorFlow and evaluate: a wrong path is answered at once."""
    for name, least in (("batch", 1), ("pictures", 0)):
        if getattr(arguments, name) < least:
            raise InputError(f"--{name} {getattr(arguments, name)}: expected {least} or more")
    config = runs.read_config(arguments.run)
    out = arguments.out or os.path.join(arguments.run, "evaluation")
    report.check_target(out)
    root = arguments.data or config.data.root
    records = evaluation_data.test_records(root, arguments.split, arguments.roi)
    held_out = good_parts(config, root, arguments)
    model = runs.load_run(arguments.run).model
    from grdnet_tf import evaluation, pictures, pipeline

    pool = model.score_pool
    predict = evaluation.predictor(model)

    def batches(chosen):
        return pipeline.evaluation_dataset(chosen, image_size=model.image_size, channels=model.channels,
                                           batch_size=arguments.batch)

    thresholds = evaluation.calibrate(predict, batches(held_out), held_out, pool) if held_out else {}
    result = evaluation.evaluate(predict, batches(records), records, pool=pool, calibration=thresholds)
    result.report.update(run=os.path.abspath(arguments.run), data=os.path.abspath(root), split=arguments.split)
    chosen = report.most_telling(result.rows, records, arguments.pictures, thresholds)
    given = any(record.roi for record in records)
    level = thresholds.get("pixel_roi" if given else "pixel", {}).get("value")
    sheets = ((seen.record, pictures.draw_sheet(seen, level, pool, roi_used=given))
              for seen in (evaluation.scan(predict, batches(chosen), chosen, pool) if chosen else ()))
    report.write(out, result, sheets)
    print(report.table(result.report))
    for line in result.report["warnings"]:
        print(f"warning: {line}", file=sys.stderr)
    print(f"report and pictures: {out}")
    return 0


def good_parts(config, root, arguments):
    """What the run held out of its training, for the thresholds; nothing if that is what is reported on."""
    if arguments.split == "train":
        return []
    home = config.data.root if os.path.isdir(config.data.root) else root
    skipped = []
    if os.path.isfile(os.path.join(arguments.run, runs.SUMMARY)):
        skipped = [path for path, _ in runs.read_summary(arguments.run)["skipped"]]
    return evaluation_data.held_out_records(home, config.data.held_out, config.train.seed, skipped, arguments.roi)


if __name__ == "__main__":
    sys.exit(main())
