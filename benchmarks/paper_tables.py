"""The tables of the GRD-Net paper: train what is missing, evaluate, lay out beside the paper's numbers.

    python benchmarks/paper_tables.py 4 --data MVTEC_ROOT --out DIR [--categories pill cable] [--scale minutes]

1, 2, 3   DRAEM and GRD-Net after 10, 35 and 100 epochs           image (pixel) AUROC, by category
4         five systems after 200 epochs                           the same
5         vanilla and residual generator alone, 500 epochs, Fig. 6   four losses; on the demo set's vials
6         GRD-Net on vials, 30 epochs                             AUROC, accuracy inside the ROI; on the demo set's
7         the four readings of the ROI in the loss, 200 epochs    the same, or on those of --categories with a ROI

Writes DIR/table-N.md and .json, DIR/table-N (page that compares the runs) and the runs, which the tables share. --scale
paper is the paper's setting, for a GPU. hour: a run takes about an hour or less on 2 cores: a fifth of the epochs,
networks as cpu.yaml's. minutes: every table whole within an hour: a twentieth of the epochs, 64 x 64 pixels; its
numbers say that the commands work and nothing else. PaDiM and PatchCore see with EfficientNet-Lite0, not with ResNet.
"""
import argparse
import csv
import json
import os
import sys
from typing import Dict, NamedTuple, Tuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmarks import paper_numbers as paper  # noqa: E402
from grdnet_tf import config as configuration  # noqa: E402
from grdnet_tf.cli import evaluate, train  # noqa: E402
from grdnet_tf.console import ended  # noqa: E402
from grdnet_tf.data.records import list_mvtec  # noqa: E402
from grdnet_tf.demo.dataset import write_demo  # noqa: E402
from grdnet_tf.errors import InputError  # noqa: E402
from grdnet_tf.report import comparison  # noqa: E402
from grdnet_tf.storage import make_folder, read_json, write_json, write_text  # noqa: E402
from grdnet_tf.training import run_folder  # noqa: E402

CONFIGS = {"grdnet": "paper", "ganomaly": "ganomaly", "draem": "draem", "padim": "padim", "patchcore": "patchcore"}
# The paper's PaDiM sees with a network alone, and pictures as they are.
NETWORK = ("features.wavelets=false", "features.groups=1", "features.varied=0")
KEPT = (10, 35, 100, 200)  # epochs whose weights the runs of tables 1 to 4 keep


class Scale(NamedTuple):
    """How much smaller than the paper: share of its epochs, settings by system, size of the vials' pictures."""
    share: float
    settings: Dict[str, Tuple[str, ...]]
    vials: dict

    def epochs(self, count):
        return max(1, round(count * self.share))


CPU = ("data.image_size=[128,128]", "train.steps_per_epoch=100", "train.batch_size=8")
SMALL = ("data.image_size=[64,64]", "train.steps_per_epoch=8", "train.batch_size=4", "validation.views=8",
         "train.image_every=0")
SCALES = {
    "paper": Scale(1.0, {**dict.fromkeys(CONFIGS, ()), "padim": NETWORK}, dict(size=(256, 256))),
    "hour": Scale(0.2, {
        "grdnet": (*CPU, "network.widths=[16,32,64]", "network.latent=64", "network.stem=0", "network.blocks=1",
                   "network.discriminator_widths=[8,16,32]", "network.discriminator_blocks=1",
                   "network.segmenter_widths=[16,32,48,64,64]", "network.segmenter_stride=2",
                   "train.learning_rate=0.001"),
        "ganomaly": (*CPU, "network.widths=[32,64,128,256,512]"),
        "draem": (*CPU, "network.widths=[16,32,64,128,128]", "network.segmenter_widths=[8,16,32,64,64,64]",
                  "train.learning_rate=0.001"),
        "padim": NETWORK, "patchcore": ()}, dict(size=(128, 128))),
    "minutes": Scale(0.05, {
        "grdnet": (*SMALL, "network.widths=[8,16,32]", "network.latent=16", "network.stem=0", "network.blocks=1",
                   "network.discriminator_widths=[8,16,32]", "network.discriminator_blocks=1",
                   "network.segmenter_widths=[8,16,32]", "network.score_pool=5", "train.learning_rate=0.002"),
        "ganomaly": (*SMALL, "network.widths=[8,16,32,64]", "network.latent=16"),
        "draem": (*SMALL, "network.widths=[8,16,32]", "network.segmenter_widths=[8,16,32]", "network.score_pool=5",
                  "train.learning_rate=0.002"),
        "padim": ("data.image_size=[128,128]", *NETWORK),
        "patchcore": ("data.image_size=[128,128]", "features.candidates=2000")}, dict(size=(64, 64), train=60)),
}


class Bench(NamedTuple):
    """Where the pictures are, where the runs go, how large all is, whether what is there goes on."""
    data: str
    out: str
    scale: Scale
    resume: bool

    def root(self, category):
        return category if os.path.isabs(category) else os.path.join(self.data, category)

    def run(self, name, system, root, epochs, *settings) -> str:
        """The run folder OUT/runs/`name`, trained for `epochs` of the paper's at least."""
        folder, wanted = os.path.join(self.out, "runs", name), self.scale.epochs(epochs)
        fitted = system in configuration.FITTED
        kept = "" if fitted else f"train.keep_epochs={[self.scale.epochs(epoch) for epoch in KEPT]}"
        if not run_folder.is_begun(folder):
            sets = [*self.scale.settings[system], *settings, *filter(None, [kept])]
            done(train, "--config", CONFIGS[system], "--data", root, "--run", folder,
                 *([] if fitted else ["--epochs", str(wanted)]), *(word for text in sets for word in ("--set", text)))
            return folder
        there = os.path.isfile(os.path.join(folder, run_folder.SUMMARY))
        if there and (fitted or run_folder.read_summary(folder)["epochs"] >= wanted):
            return folder
        if not self.resume and not there:
            raise InputError(f"{folder}: a run that was cut off; --resume goes on with it")
        done(train, "--run", folder, "--resume", *([] if fitted else ["--epochs", str(wanted)]))
        return folder

    def report(self, folder, epoch=None):
        """The entry for the comparison of a run's best weights or of those after `epoch` of the paper's."""
        here = None if epoch is None else self.scale.epochs(epoch)
        at = os.path.join(folder, "evaluation" if here is None else f"evaluation-epoch-{here}")
        path = os.path.join(at, "report.json")
        if not os.path.isfile(path) or os.path.getmtime(path) < os.path.getmtime(run_folder.weights(folder, here)):
            # Two verdicts, as the paper's accuracy has.
            done(evaluate, "--run", folder, "--pictures", "8", "--thresholds", "max_normal,quantile:0.999,none",
                 *([] if here is None else ["--epoch", str(here)]))
        return comparison.read(folder, configuration.settings_in_use(run_folder.read_config(folder)), at)


def done(command, *words):
    """The command, in this process. InputError where it does not end well: it has said why."""
    import tensorflow as tf

    tf.keras.backend.clear_session()  # the graphs of the runs before
    print(f"$ grdnet {command.__name__.rpartition('.')[2]} {' '.join(words)}", file=sys.stderr, flush=True)
    status = command.main(list(words))
    if status:
        raise InputError(f"grdnet {command.__name__.rpartition('.')[2]} ended with status {status}; see above")


# The tables: each gives rows of cells, its heading first, data for JSON, and what the page compares -------------------


def by_epoch(bench, categories, table):
    """Tables 1 to 3."""
    return systems(bench, categories, ("draem", "grdnet"), paper.CURVES[table], paper.EPOCHS[table])


def side_by_side(bench, categories, table):
    """Table 4."""
    return systems(bench, categories, tuple(CONFIGS), paper.SYSTEMS, KEPT[-1])


def systems(bench, categories, names, numbers, epoch):
    rows = [["category", *(f"{name}, {who}" for name in names for who in ("paper", "here"))]]
    data, entries = {}, []
    for category in categories:
        cells, data[category] = [category], {}
        for name in names:
            folder = bench.run(os.path.join(os.path.basename(category), name), name, bench.root(category), epoch)
            entries.append(bench.report(folder, None if name in configuration.FITTED else epoch))
            found = figures(entries[-1], "image_auroc", "pixel_auroc")
            here = tuple(None if value is None else 100 * value for value in found)
            theirs = numbers.get(category, {}).get(name, (None, None))
            data[category][name] = {"paper": theirs, "here": here}
            cells += [both(theirs), both(here)]
        rows.append(cells)
    return rows, data, entries


def generators(bench, categories, table):
    """Table 5 and the curves of Fig. 6, as the rows of both metrics.csv in the JSON."""
    rows = [["loss", *(f"{kind} {part}, {who}" for kind in paper.LOSSES for part in ("training", "validation")
                       for who in ("paper", "here"))]]
    data = {}
    for kind in paper.LOSSES:
        residual = str(kind == "residual").lower()
        folder = bench.run(f"vials/{kind}", "grdnet", vials(bench), 500, f"network.residual={residual}",
                           "loss.segmentation=0", "train.monitor=val_generator")
        with open(os.path.join(folder, "metrics.csv"), newline="", encoding="utf-8") as stream:
            data[kind] = [{name: float(value) for name, value in row.items() if value}
                          for row in csv.DictReader(stream)]
    for loss in next(iter(paper.LOSSES.values())):
        cells = [loss]
        for kind, theirs in paper.LOSSES.items():
            last = data[kind][-1]
            ours = last[loss], last[f"val_{loss}"]
            cells += [f"{number:.3g}" for pair in zip(theirs[loss], ours) for number in pair]
        rows.append(cells)
    return rows, data, []


def real_case(bench, categories, table):
    """Table 6."""
    folder = bench.run("vials/grdnet", "grdnet", vials(bench), 30)
    entry = bench.report(folder)
    here = dict(zip(paper.VIALS, figures(entry, "image_auroc", "pixel_auroc", "accuracy")))
    rows = [["", *paper.VIALS], ["paper", *(f"{value:.3f}" for value in paper.VIALS.values())],
            ["here", *("-" if value is None else f"{value:.3f}" for value in here.values())]]
    return rows, {"paper": paper.VIALS, "here": here}, [entry]


def loss_cases(bench, categories, table):
    """Table 7, on the vials where no category is named."""
    rows = [["data", "case", "image AUROC, paper", "here", "accuracy, paper", "here", "pixel AUROC, here"]]
    data, entries = {}, []
    for category in categories or ("vials",):
        root = vials(bench) if category == "vials" else bench.root(category)
        for number, (reading, theirs) in enumerate(paper.CASES.items(), start=1):
            folder = bench.run(os.path.join(os.path.basename(category), f"case-{number}"), "grdnet", root, 200,
                               f"loss.roi_reading={reading}")
            entries.append(bench.report(folder))
            here = figures(entries[-1], "image_auroc", "accuracy", "pixel_auroc")
            image, accuracy, pixel = ("-" if value is None else f"{100 * value:.1f}" for value in here)
            rows.append([category, f"{number}: {reading}", f"{theirs[0]}", image, f"{theirs[1]}", accuracy, pixel])
            data.setdefault(category, {})[reading] = {"paper": theirs, "here": here}
    return rows, data, entries


TABLES = {1: by_epoch, 2: by_epoch, 3: by_epoch, 4: side_by_side, 5: generators, 6: real_case, 7: loss_cases}


def figures(entry, *names):
    """Of its report, in the order of `names`: those inside the ROI, where the product has one."""
    return [entry.report.get(name + comparison.suffix([entry])) for name in names]


def vials(bench) -> str:
    return write_demo(os.path.join(bench.out, "vials"), **bench.scale.vials)


def both(pair) -> str:
    """"98.5 (95.8)": image and pixel AUROC in percent."""
    image, pixel = ("-" if value is None else f"{value:.1f}" for value in pair)
    return f"{image} ({pixel})"


def chosen(arguments, table):
    """The categories of --categories, or those of the paper's table that are there. InputError where none is."""
    named = {**dict.fromkeys((1, 2, 3), paper.CURVES[1]), 4: paper.SYSTEMS}.get(table, {})
    if table in (5, 6):
        return ()
    found = arguments.categories or [name for name in named if os.path.isdir(os.path.join(arguments.data or "", name))]
    if named and not found:
        raise InputError(f"table {table}: --data {arguments.data}: none of {', '.join(named)} is there; --categories "
                         "names other folders")
    for name in found:
        if not arguments.data or not os.path.isdir(os.path.join(arguments.data, name, "train")):
            raise InputError(f"--categories {name}: no folder {name}/train in --data {arguments.data}")
    if table == 7:  # four readings of what is not there are one
        named, found = found, [name for name in found if list_mvtec(os.path.join(arguments.data, name), "train")[0].roi]
        if arguments.table == "7" and found != named:
            raise InputError(f"--categories {' '.join(named)}: table 7 is about the ROI, which not all of them have")
    return tuple(found)


def check_scale(out, scale) -> None:
    """InputError where the runs in `out` are of another scale; else it is noted there."""
    path = os.path.join(out, "scale.json")
    if os.path.isfile(path):
        try:
            begun = read_json(path)
        except ValueError:
            raise InputError(f"{path}: damaged; it says of which --scale the runs beside it are") from None
        if begun != scale:
            raise InputError(f"--scale {scale}: the runs in {out} are of --scale {begun}; choose another --out")
    make_folder(out)
    write_json(path, scale)


def make(bench, table, categories) -> str:
    """Train, evaluate and write one table; its Markdown."""
    rows, data, entries = TABLES[table](bench, categories, table)
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    text = "\n".join([f"Table {table}", "", lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"
    write_text(os.path.join(bench.out, f"table-{table}.md"), text)
    write_json(os.path.join(bench.out, f"table-{table}.json"),
               {"table": table, "share_of_epochs": bench.scale.share, "data": data})
    if entries:
        comparison.write(os.path.join(bench.out, f"table-{table}"), entries)
    return text


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", metavar="TABLE", choices=["all", *map(str, TABLES)], help="1 to 7, or all")
    parser.add_argument("--data", metavar="MVTEC_ROOT", help="folder of MVTec AD: a folder in its layout a category")
    parser.add_argument("--out", metavar="DIR", required=True, help="tables, runs, drawn vials")
    parser.add_argument("--categories", metavar="NAME", nargs="+", help="folders in --data (default: the paper's that "
                        "are there)")
    parser.add_argument("--scale", choices=tuple(SCALES), default="paper", help="(default: paper)")
    parser.add_argument("--resume", action="store_true", help="go on with runs that were cut off")
    arguments = parser.parse_args(argv)

    def work():
        plan = [(table, chosen(arguments, table)) for table in TABLES if arguments.table in ("all", str(table))]
        bench = Bench(arguments.data, os.path.abspath(arguments.out), SCALES[arguments.scale], arguments.resume)
        check_scale(bench.out, arguments.scale)
        for table, categories in plan:
            print(make(bench, table, categories))
        return 0

    return ended(work)


if __name__ == "__main__":
    sys.exit(main())
