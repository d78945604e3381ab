"""Speed of the input pipeline: images/s of each form in turn, as ratios; and whether a training step waits for it.

    python benchmarks/pipeline.py                                  drawn PNG files of 256 x 256
    python benchmarks/pipeline.py --data DIR --size 128            a data set's own pictures, decoded and resized
    python benchmarks/pipeline.py --config configs/demo.yaml       also trains that model and times its waiting

The forms run in turns, several rounds, and the fastest round of each counts, so that a busy machine slows all alike.
"""
import argparse
import itertools
import os
import sys
import tempfile
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

STILL = dict(rotation=0.0, flip_horizontal=False, flip_vertical=False)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="a data set; without it PNG files are drawn")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="batch size (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=64, help="how many are drawn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each form (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=12, help="batches a turn (default: %(default)s)")
    parser.add_argument("--config", metavar="FILE", help="train this configuration's model and time its waiting")
    parser.add_argument("--set", metavar="a.b=c", action="append", default=[], help="a key of the configuration")
    parser.add_argument("--steps", type=int, default=20, help="steps to time with --config (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="append what is measured as JSON lines")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    from grdnet_tf.data.records import inspect, list_mvtec
    from grdnet_tf.errors import InputError

    with tempfile.TemporaryDirectory() as folder:
        try:
            root = arguments.data or draw(folder, arguments.pictures, arguments.size)
            found = inspect(list_mvtec(root, "train"))
            print(f"{len(found.records)} pictures, {found.channels} channels of {found.depth} bit, to "
                  f"{arguments.size} x {arguments.size}, batch {arguments.batch}, CPU, "
                  f"{len(os.sched_getaffinity(0))} cores")
            compare(found, arguments)
            if arguments.config:
                wait(root, arguments)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


def draw(root, count, size):
    """A data set of `count` PNG files with smooth noise in them, which compress about as photographs do."""
    import cv2
    import numpy as np

    os.makedirs(os.path.join(root, "train", "good"))
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.uniform(40, 215, (16, 16, 3)).astype(np.float32)
        pixels = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + random.normal(0, 3, (size, size, 3))
        cv2.imwrite(os.path.join(root, "train", "good", f"{number:04}.png"), pixels.clip(0, 255).astype(np.uint8))
    return root


def compare(found, arguments):
    """Images/s of the forms, and their ratio to decoding the files in every pass."""
    from benchmarks import lines
    from grdnet_tf.data import pipeline
    from grdnet_tf.options import Data

    forms = {"files, decoded each time": dict(cache="none", **STILL), "cache in RAM": dict(cache="ram", **STILL),
             "cache in RAM, rotation and flips": dict(cache="ram")}
    streams = {name: iter(pipeline.TrainingStream(
        found.records, Data(image_size=(arguments.size, arguments.size), **form), channels=found.channels,
        depth=found.depth, batch_size=arguments.batch, seed=0).batches()) for name, form in forms.items()}
    # Each turn starts by emptying what lies ready from the last one: the stream prefetches while others are timed.
    rates = {name: 0.0 for name in forms}
    for _ in range(arguments.rounds):
        for name, stream in streams.items():
            for _ in itertools.islice(stream, 2 * pipeline.PREFETCH):
                pass
            start = time.perf_counter()
            for _ in itertools.islice(stream, arguments.batches):
                pass
            rates[name] = max(rates[name], arguments.batches * arguments.batch / (time.perf_counter() - start))
    base = rates["files, decoded each time"]
    for name, rate in rates.items():
        print(f"{name:34} {rate:8.0f} images/s {rate / base:7.2f} x", flush=True)
        lines.add(arguments.json, form=name, images_per_second=rate)


def wait(root, arguments):
    """The share of the wall time in which a real training step waits for its batch."""
    import tensorflow as tf

    from benchmarks import lines
    from grdnet_tf import config as configuration
    from grdnet_tf.training import building, prepare

    config = configuration.load_config(arguments.config, [f"data.root={root}", *arguments.set])
    data = prepare.training_data(config)
    config = prepare.oriented(configuration.replace(config, data__channels=str(data.channels)), data)
    building.set_up(config)
    model = building.build_model(config)
    building.compile_model(model, config, data)
    stream = iter(building.training_stream(model, config, data).batches())
    step = tf.function(model.train_step)
    for _ in range(3):  # trace, and let the buffers reach their usual state
        step(next(stream))
    waited, start = 0.0, time.perf_counter()
    for _ in range(arguments.steps):
        asked = time.perf_counter()
        batch = next(stream)
        waited += time.perf_counter() - asked
        [float(value) for value in tf.nest.flatten(step(batch))]  # read, so that the step is over
    wall = time.perf_counter() - start
    print(f"{os.path.basename(arguments.config)}: {wall / arguments.steps * 1e3:.0f} ms a step, of which "
          f"{waited / arguments.steps * 1e3:.1f} ms ({waited / wall:.1%}) waiting for data")
    lines.add(arguments.json, config=os.path.basename(arguments.config), steps=arguments.steps,
              seconds=wall / arguments.steps, waiting=waited / wall)


if __name__ == "__main__":
    sys.exit(main())
