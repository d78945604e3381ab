"""Finished runs as a table, a row each: what a method finds on a product, and what that costs.

    python benchmarks/methods.py RUN [RUN ...] [--out FILE.md|FILE.json] [--no-times]

data, method, seed     of the run; data is the folder that the report is about
reading                inside the ROI where the product has a region, else the whole picture
image AUROC ... misses of RUN/evaluation; a run that has none, or one older than its weights, is evaluated first.
                       At the default thresholds: the share of the good pictures that is rejected, and that is to be
                       looked at again; misses: the share of the defective ones that is accepted without a second look
s to train             by the clock, in parentheses processor time, the steadier number beside other work: as the
                       run's summary.json has them, without start and imports; processor time is known of what is fitted
                       in one pass alone
peak MB                the most memory that the training process held (MiB), TensorFlow's own included
ms                     of a picture, batch 1, one core, from tensors: median of a call by the clock, in parentheses its
                       processor time. benchmarks/inference.py measures them, in a process of its own for each run, the
                       forms in turns; "-" where a form cannot be had

Rows are printed as they are ready. JSON has the same numbers unrounded, with the processor and the versions.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)

from benchmarks import inference  # noqa: E402
from grdnet_tf.cli import evaluate  # noqa: E402
from grdnet_tf.console import ended  # noqa: E402
from grdnet_tf.errors import InputError  # noqa: E402
from grdnet_tf.evaluation.thresholds import IMAGE_METHOD  # noqa: E402
from grdnet_tf.report import comparison  # noqa: E402
from grdnet_tf.report.report import REPORT  # noqa: E402
from grdnet_tf.storage import write_json, write_text  # noqa: E402
from grdnet_tf.training import run_folder  # noqa: E402

FIGURES = {"image AUROC": "image_auroc", "pixel AUROC": "pixel_auroc", "AUPRO 0.3": "aupro",
           "false rejects": "false_reject_rate", "good to look at": "false_look_rate", "misses": "miss_rate"}
COSTS = ("seconds_to_train", "processor_seconds", "peak_rss_mb")
FORMS = {"Keras": inference.KERAS, "SavedModel": inference.SESSION, "ONNX": inference.ONNX}
ROUNDS, CALLS = 3, 10  # of each form, beside a first round that does not count


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a finished run")
    parser.add_argument("--out", metavar="FILE", help="where the table is written too: FILE.md or FILE.json")
    parser.add_argument("--no-times", action="store_true", help="leave the milliseconds out")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    return ended(work, parse, argv)


def work(arguments) -> int:
    """Judge all runs before any is evaluated or timed, then a row each. InputError."""
    if arguments.out and not arguments.out.endswith((".md", ".json")):
        raise InputError(f"--out {arguments.out}: expected a name that ends in .md or .json")
    for run in arguments.runs:
        run_folder.read_config(run)
        run_folder.read_summary(run)
        run_folder.weights(run)
    forms = [] if arguments.no_times else list(FORMS)
    titles = ["data", "method", "seed", "reading", *FIGURES, "s to train", "peak MB", *(f"{form} ms" for form in forms)]
    lines = [markdown(titles), "|" + "---|" * len(titles)]
    rows, entries = [], []
    for run in arguments.runs:
        entries.append(evaluated(run))
        rows.append({**told(run, entries[-1]), **({} if arguments.no_times else {"ms": times(run)})})
        lines.append(markdown(cells(rows[-1])))
        print("\n".join(lines if len(rows) == 1 else lines[-1:]), flush=True)
    for line in comparison.warnings(entries):
        print(f"warning: {line}", file=sys.stderr)
    if arguments.out and arguments.out.endswith(".md"):
        write_text(arguments.out, "\n".join(lines) + "\n")
    elif arguments.out:
        here = run_folder.environment()
        write_json(arguments.out, {**{key: here[key] for key in ("processor", "cpu_count", "packages")}, "runs": rows})
    return 0


def evaluated(run):
    """The run's report, as `comparison` reads it; made with the default thresholds where there is none. InputError."""
    path = os.path.join(run, "evaluation", REPORT)
    if not os.path.isfile(path) or os.path.getmtime(path) < os.path.getmtime(run_folder.weights(run)):
        import tensorflow as tf

        tf.keras.backend.clear_session()  # the graphs of the run before
        print(f"$ grdnet evaluate --run {run}", file=sys.stderr, flush=True)
        evaluate.chosen(evaluate.parser().parse_args(["--run", run, "--pictures", "8", "--quiet"]))
    return comparison.read(run, {})


def told(run, entry):
    """{what: value} of the run's configuration, report and summary; None for what they do not say."""
    config, summary, end = run_folder.read_config(run), run_folder.read_summary(run), comparison.suffix([entry])
    method = (entry.report["thresholds"].get("image" + end) or {}).get("method", IMAGE_METHOD)
    if method != IMAGE_METHOD:
        print(f"warning: {run}: rejects by {method}, not by the default {IMAGE_METHOD}", file=sys.stderr)
    minutes, fit, features = (summary.get(key) for key in ("minutes", "seconds_to_fit", "seconds_in_features"))
    return {"run": run, "data": os.path.basename(os.path.normpath(entry.report["data"])),
            "method": config.method + (" + padim" if config.features.fused else ""), "seed": config.train.seed,
            "reading": "inside the ROI" if end else "whole picture",
            **{key: entry.report.get(key + end) for key in FIGURES.values()},
            "seconds_to_train": None if minutes is None else 60 * minutes,
            "processor_seconds": summary.get("processor_seconds"),
            # of what is fitted in one pass: the part behind the pass through the backbone
            "seconds_after_features": None if None in (fit, features) else fit - features,
            "peak_rss_mb": summary.get("peak_rss_mb"), "train_images": summary.get("train_images")}


def times(run):
    """{form: {"p50_ms", "cpu_ms"}} of one picture on one core; {} and a warning where the run cannot be timed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "lines.json")
        done = subprocess.run([sys.executable, inference.__file__, "--run", run, "--batch", "1", "--threads", "1",
                               "--rounds", str(ROUNDS), "--calls", str(CALLS), "--json", path],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
            print(f"warning: {run}: not timed: {why}", file=sys.stderr)
            return {}
        with open(path, encoding="utf-8") as stream:
            found = {row["form"]: row for row in map(json.loads, stream)}
    return {form: {key: found[name][key] for key in ("p50_ms", "cpu_ms")} for form, name in FORMS.items()
            if name in found}


def cells(row):
    """The row as text, in the order of the titles."""
    shares = ["-" if row[key] is None else f"{row[key]:.3f}" for key in FIGURES.values()]
    clock, used, peak = ("-" if row[key] is None else f"{row[key]:.0f}" for key in COSTS)
    timed = ["{p50_ms:.1f} ({cpu_ms:.1f})".format(**row["ms"][form]) if form in row["ms"] else "-"
             for form in FORMS] if "ms" in row else []
    return [row["data"], row["method"], str(row["seed"]), row["reading"], *shares,
            clock if used == "-" else f"{clock} ({used})", peak, *timed]


def markdown(texts) -> str:
    return "| " + " | ".join(texts) + " |"


if __name__ == "__main__":
    sys.exit(main())
