"""Train GRD-Net on a folder of defect-free pictures: config -> run folder -> trained weights and summary."""
import argparse
import json
import logging
import os
import sys

from .. import config as configuration
from ..console import Progress, ended
from ..data import roi as rois
from ..data import turning
from ..errors import InputError, TrainingStopped
from ..storage import absolute as absolute_path
from ..storage import write_json
from ..training import origin, prepare, recorded, run_folder, upright
from . import flags

logger = logging.getLogger(__name__)

DEMO_CONFIG, DEMO_DATA = "demo", "demo_data"
CHANGEABLE = ("train.epochs", "train.early_stopping", "train.image_every", "train.checkpoint_steps",
              "train.keep_epochs", "data.root", "data.cache", "data.cache_gb", "data.parallel_calls")


def parser():
    parser = argparse.ArgumentParser(prog="grdnet train", description=__doc__)
    parser.add_argument("--data", metavar="DIR",
                        help="MVTec layout: DIR/train/good, optional DIR/roi; or shards (default: the demo set, drawn "
                        f"into {DEMO_DATA})")
    parser.add_argument("--add-good", metavar="DIR", action="append", default=[], help="a further folder of good "
                        "pictures to train on, in the MVTec layout or of pictures alone; repeatable")
    parser.add_argument("--from", metavar="RUN", dest="parent", help="begin with the best weights of this run; its "
                        "configuration is the base of --config, --set and the flags, its data of --data and --add-good")
    parser.add_argument("--keep-optimizers", action="store_true", help="with --from: the optimizers of its newest "
                        "checkpoint go on (default: fresh ones)")
    parser.add_argument("--run", metavar="RUN", help="run folder to create, or with --resume to go on with")
    parser.add_argument("--config", metavar="NAME|FILE", help="cpu, cpu-five, cpu-features, gpu, demo, paper, paper_drae, "
                        "ganomaly, ganomaly_cpu, draem, draem_cpu, padim, padim_scattering or patchcore, or a YAML file of "
                        "what differs from the defaults (default: demo without --data; with it the defaults, which are for "
                        "a GPU)")
    parser.add_argument("--set", metavar="a.b=c", action="extend", nargs="+", default=[],
                        help="keys of the configuration; may be repeated")
    parser.add_argument("--epochs", type=int, help="train.epochs")
    parser.add_argument("--seed", type=int, help="train.seed")
    parser.add_argument("--precision", choices=("float32", "mixed_float16", "mixed_bfloat16"), help="train.precision")
    parser.add_argument("--jit", action=argparse.BooleanOptionalAction, default=None, help="train.jit: XLA on or off")
    parser.add_argument("--deterministic", action="store_true", default=None, help="the same bits in every run, slower")
    parser.add_argument("--strategy", choices=("none", "mirrored", "multiworker"), help="train.strategy")
    flags.quiet(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of --run")
    parser.add_argument("--print-config", action="store_true", help="print the resolved configuration and stop")
    return parser


def main(argv=None) -> int:
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    if arguments.resume and (arguments.parent or arguments.add_good):
        raise InputError("--from and --add-good go with a new --run; --resume goes on with what the run began with")
    if arguments.keep_optimizers and not arguments.parent:
        raise InputError("--keep-optimizers goes with --from RUN")
    config = resume_config(arguments) if arguments.resume else new_config(arguments)
    if arguments.print_config:
        print(configuration.to_yaml(config), end="")
        return 0
    if not arguments.run:
        raise InputError("--run RUN is missing: the folder to write the run to")
    by_default = arguments.config is None and arguments.data is not None and config.method == "grdnet"
    if by_default and not (arguments.resume or arguments.parent):
        logger.warning("warning: no --config: the defaults, %d epochs at %d x %d, are for a GPU; on a CPU: --config cpu",
                       config.train.epochs, *config.data.image_size)
    try:
        return train(config, arguments.run, arguments.resume)
    except TrainingStopped as error:
        kept = os.path.join(arguments.run, run_folder.CHECKPOINTS)
        raise TrainingStopped(f"{error}; the last good checkpoint is in {kept}") from error


def overrides(arguments):
    """--set and the flags that stand for one key, as section.key=value."""
    flags = {"epochs": arguments.epochs, "seed": arguments.seed, "precision": arguments.precision,
             "jit": {True: "on", False: "off", None: None}[arguments.jit], "deterministic": arguments.deterministic,
             "strategy": arguments.strategy}
    found = arguments.set + [f"train.{key}={value}" for key, value in flags.items() if value is not None]
    return found + ([f"data.root={json.dumps(absolute_path(arguments.data))}"] if arguments.data is not None else [])


def new_config(arguments):
    """Defaults or --from, then the config file (the demo's, if there is nothing at all), then --set and the flags."""
    file, base, added = arguments.config, None, ()
    if arguments.parent is not None:
        base = origin.begin(arguments.parent, arguments.keep_optimizers)
        if arguments.data is not None:  # in the place of all that the parent was trained on
            base = configuration.replace(base, data__add_good=(), data__add_repeat=1)
            if os.path.isdir(arguments.data) and rois.for_all(arguments.data):  # a region of its own
                base = configuration.replace(base, station__roi=None, station__follow=None)
        added = base.data.add_good
    elif file is None and arguments.data is None:
        file = DEMO_CONFIG
    more = overrides(arguments)
    if arguments.add_good:
        folders = list(dict.fromkeys([*added, *map(absolute_path, arguments.add_good)]))
        more.append(f"data.add_good={json.dumps(folders)}")
    config = absolute(configuration.load_config(file, more, base))
    if base is not None:
        origin.check(config)
    for key, source in (("textures", "texture"), ("real", "real")):
        read = any(section.sources.get(source, 0) > 0 for section in (config.noise, config.validation))
        if getattr(config.noise, key) and not read:
            raise InputError(f"noise.{key} = {getattr(config.noise, key)}: nothing reads it; noise.sources: "
                             f"{{{source}: 1, ...}} does")
    return config


def absolute(config):
    """`config` with absolute folders, so that the run's config.yaml means the same ones wherever it is used."""
    folders = {"data__root": config.data.root, "noise__textures": config.noise.textures,
               "noise__real": config.noise.real, "station__roi": config.station.roi,
               "station__follow": config.station.follow, "station__align": config.station.align}
    found = {key: absolute_path(path) for key, path in folders.items() if path}
    return configuration.replace(config, data__add_good=tuple(map(absolute_path, config.data.add_good)), **found)


def resume_config(arguments):
    """The run's own configuration; what is given beside it may only name what a run can change on its way."""
    if not arguments.run:
        raise InputError("--resume needs --run RUN")
    stored = run_folder.read_config(arguments.run)
    file = arguments.config or os.path.join(arguments.run, run_folder.CONFIG)
    base = stored.model_copy(update={"station": type(stored.station)()}) if stored.origin.parent else None
    changes = overrides(arguments)
    if "features.fused=auto" in changes:
        raise InputError("--resume: features.fused = auto decides when a run begins; true or false")
    if stored.features.fused and "features.fused=false" in changes:  # what only PaDiM reads goes as well
        kept = prepare.alone(stored).features
        changes = [f"features.{key}={configuration.plain(value)}" for key, value in kept
                   if value != getattr(stored.features, key)] + changes
    config = configuration.load_config(file, prepare.measured(stored) + changes, base)
    if config.station != type(config.station)():
        raise InputError(f"--resume: station.* is changed in {os.path.join(arguments.run, run_folder.STATION)}")
    if config.data.channels == "auto":
        config = configuration.replace(config, data__channels=stored.data.channels)
    if config.data.root is None:
        config = configuration.replace(config, data__root=stored.data.root)
    if config.features.fused == "auto":
        config = configuration.replace(config, features__fused=stored.features.fused)
    if config.train.schedule == "cosine" and not config.train.cosine_epochs:
        config = configuration.replace(config, train__cosine_epochs=stored.train.cosine_epochs)
    if stored.data.upright and absolute_path(config.data.root) == turning.source(stored.data.root):
        config = configuration.replace(config, data__root=stored.data.root)
    for key, (ours, theirs) in configuration.differences(config, stored).items():
        judged_by = ("station.", "features.") if config.method == "grdnet" else ("station.",)  # what the steps do not see
        if key not in CHANGEABLE and not key.startswith(judged_by):
            what = "another architecture" if key.startswith("network.") else f"only {', '.join(CHANGEABLE)} may change"
            how = "; without --config it goes on as it began" if arguments.config else ""
            if stored.data.upright and key in ("data.upright", "data.image_size", "data.crop"):
                what, how = "the run turned its parts, and its sizes are of what they became", "; leave it out"
            raise InputError(f"--resume: {key} = {ours}, but {arguments.run} has {theirs}: {what}{how}")
    return with_the_schedule_of(stored, absolute(config)).model_copy(update={"station": stored.station})


def with_the_schedule_of(stored, config):
    """`config`, of a run to go on, with the cosine's end where `stored` has it: else the rate would jump up again."""
    ours, theirs = config.train, stored.train
    end = theirs.cosine_epochs or theirs.epochs
    if ours.schedule != "cosine" or ours.epochs == end:
        return config
    print(f"--resume: the cosine schedule ends at epoch {end}, as the run began; later epochs are at "
          f"train.min_learning_rate = {ours.min_learning_rate:g}", file=sys.stderr)
    return configuration.replace(config, train__cosine_epochs=end)


def train(config, folder, resume) -> int:
    """Judge the data, then import TensorFlow and train: a wrong path is answered at once."""
    if config.data.root is None:
        config = configuration.replace(config, data__root=demo_set())
    parent = recorded.read(config.origin.parent) if config.origin.parent and not resume else None
    if config.origin.parent and parent is None and not resume:
        print(f"warning: {config.origin.parent} does not say what it was trained on: some of that may be held out now",
              file=sys.stderr)
    skipped = []
    if not resume:
        config, skipped = upright.decided(config, folder)
    data = prepare.training_data(config, recorded.read(folder) if resume else None, parent)
    data = data._replace(skipped=[*skipped, *data.skipped])
    config = prepare.beside(configuration.replace(config, data__channels=str(data.channels)), data)
    if not resume:
        run_folder.check_new(run_folder.worker_folder(folder, config))
        if config.origin.parent is None:  # else as the weights have learnt it
            config = prepare.oriented(config, data)
    from ..training import fit

    status = fit.run(config, data, folder, resume)
    first = folder == run_folder.worker_folder(folder, config)
    told = os.path.isfile(os.path.join(folder, run_folder.DRAWN))  # by a run that was finished before
    if not status and first and not told and config.validation.drawn and data.held_out:
        tell_drawn(config, data, folder)
    return status


def tell_drawn(config, data, folder):
    """What is known of the finished run before there is a defective part, in RUN/drawn.json and in words.

    How well it finds defects that no training noise knows, and how many good parts another camera would have rejected.
    """
    from ..evaluation import disturbance, drawn
    from ..evaluation.predict import Predictor
    from ..training import building

    predictor = Predictor(building.load_run(folder).model, white=config.data.white)
    found, varied = drawn.check(predictor, data.held_out, config.validation.drawn, Progress("pictures drawn on")), None
    if not config.station.tiles and not config.station.roi:  # judged otherwise than here, with another threshold
        varied = disturbance.when_varied(predictor, data.held_out, data.depth)
    write_json(os.path.join(folder, run_folder.DRAWN), {
        **(found._asdict() if found else {}), "varied": varied and varied._asdict()})
    if found is None:
        print("no defects that no training noise knows were drawn: the held-out pictures have 16 bit, or none would show",
              file=sys.stderr)
    else:
        logger.info("%s", drawn.words(found))
    if varied:
        logger.info("were light, focus, noise or JPEG a little other, it would reject %d of %d held-out good pictures",
                    varied.rejected, varied.pictures)
    if found and found.image_auroc < drawn.POOR:
        logger.warning("warning: a run that finds so few of these will miss real defects too; what helps on which product: "
                       "docs/your_product.md")
    if varied and varied.many:
        logger.warning("warning: lamp, camera and the files' compression must stay as they are; what makes a run steadier: "
                       "docs/your_product.md")


def demo_set():
    """The embedded demo set, drawn into the current folder the first time."""
    from ..demo.dataset import write_demo

    root = os.path.abspath(DEMO_DATA)
    if not os.path.isdir(root):
        print(f"drawing the demo set into {root}", file=sys.stderr)
        write_demo(root)
    return root
