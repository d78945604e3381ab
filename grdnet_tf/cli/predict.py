"""Judge new pictures: files, folders, globs, a video, a camera, paths on standard input, a folder that is watched."""
import argparse
import contextlib
import json
import os
import signal
import sys
import time

from ..console import Progress, ended
from ..errors import InputError, printable
from . import flags

STATUS = ("Exit status: 0 all are good; 3 some are rejected or cannot be read; 5 none of those, but some are to be "
          "looked at again; 4 the scores drift, whatever else; 2 wrong input, or a camera that gives no more frames. Ctrl-C "
          "ends a watch and a camera.")
PAGE_EVERY = 10.0  # seconds between two index.html while pictures come in


def parser():
    parser = argparse.ArgumentParser(prog="grdnet predict", description=__doc__, epilog=STATUS)
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="picture, folder with its subfolders, shards, glob "
                        "in quotes, video file, camera:0; - or nothing: paths on standard input, one a line")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--run", metavar="RUN", help="run folder that train.py wrote")
    model.add_argument("--model", metavar="PATH", help="instead: an export's DIR/<name> or DIR/<name>/<version>, or "
                       "an .onnx file")
    model.add_argument("--health", metavar="DIR", help="judge nothing: exit status 4 while what is watched with --out "
                       "DIR drifts, else 0")
    parser.add_argument("--out", metavar="DIR", help="write predictions.csv, predictions.jsonl, pictures/ and "
                        "index.html; an earlier DIR is replaced (default: a line a picture on the console)")
    parser.add_argument("--append", action="store_true", help="go on with DIR: pictures that are in it already are not "
                        "judged again")
    parser.add_argument("--pictures", choices=("rejected", "all", "none"), default="rejected",
                        help="of which DIR/pictures gets overlay and map, as large as the file (default: rejected)")
    parser.add_argument("--watch", action="store_true", help="judge what comes into the folder INPUT, each picture "
                        "once, until Ctrl-C; implies --append")
    parser.add_argument("--idle", metavar="S", type=float, help="--watch ends after so many seconds without a picture")
    parser.add_argument("--window", metavar="N", type=int, help="say, in one JSON line, when the scores of the last N "
                        "pictures are no longer as those of the good ones were; 0: never (default: 100 with --watch)")
    parser.add_argument("--roi", metavar="FILE|none", help="region of interest for all pictures, a picture or roi.json "
                        "(default: the run's own)")
    parser.add_argument("--every", metavar="N", type=int, default=1, help="of a video or camera, each Nth frame")
    flags.batch(parser)
    parser.add_argument("--json", action="store_true", help="a JSON object a picture on standard output, nothing else")
    flags.quiet(parser, "no progress and no summary")
    return parser


def main(argv=None) -> int:
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    """Judge flags and inputs, then import TensorFlow: a wrong path is answered at once."""
    from ..inspection import drift, folder, sources

    if arguments.health:
        status, last = drift.health(arguments.health)
        say(arguments, last)
        return status
    check_flags(arguments)
    if arguments.run:
        from ..training import run_folder

        run_folder.read_config(arguments.run)
    items, total = (None, None)
    if not arguments.watch:
        if arguments.inputs in ([], ["-"]):
            if hasattr(sys.stdin, "reconfigure"):  # names of files are bytes
                sys.stdin.reconfigure(errors="surrogateescape")
            items = sources.lines(sys.stdin)
        else:
            items, total = sources.named(arguments.inputs, arguments.every)
    if arguments.out:
        folder.check(arguments.out)
    from ..inspection import detector as detectors

    detector = detectors.load(arguments.run or arguments.model, arguments.batch, arguments.roi)
    with stopped_by_the_system():
        return judge(arguments, detector, items, total)


@contextlib.contextmanager
def stopped_by_the_system():
    """A service is stopped as by Ctrl-C: what was judged is on its line."""
    def interrupt(*_):  # not SIGINT: what a script starts in the background ignores that
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_flags(arguments):
    """InputError for flags that do not go together or a number out of range."""
    flags.at_least(arguments, batch=1, every=1, window=0)
    for flag in ("append", "watch"):
        if getattr(arguments, flag) and not arguments.out:
            raise InputError(f"--{flag} needs --out DIR, which says what was judged before")
    if arguments.watch and (len(arguments.inputs) != 1 or not os.path.isdir(arguments.inputs[0])):
        raise InputError("--watch: expected one folder to watch, found " + (", ".join(arguments.inputs) or "none"))
    for word in arguments.inputs if arguments.out else ():
        if os.path.isdir(word) and within(arguments.out, word):
            raise InputError(f"--out {arguments.out}: lies in {word}, and the pictures drawn there would be judged as well")
    if arguments.idle is not None and not arguments.watch:
        raise InputError("--idle goes with --watch")
    if not arguments.inputs and sys.stdin.isatty():
        raise InputError("no pictures: name files, folders, a video, camera:0, or pipe paths in")


def within(path, folder):
    """Whether a path, which need not be there, is a folder or lies below it, links followed."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonprefix([os.path.join(path, ""), os.path.join(folder, "")]) == os.path.join(folder, "")


def judge(arguments, detector, items, total):
    """Judge all, write and print what is asked for; the exit status."""
    from ..inspection import drift, folder
    from ..inspection.result import Counts

    progress, counts, started, out = Progress("pictures"), Counts(), time.monotonic(), None
    unmoved = 0
    progress.quiet = progress.quiet or arguments.watch or not (arguments.out or arguments.json)
    with contextlib.ExitStack() as stack:
        if arguments.out:
            out = stack.enter_context(folder.Folder(
                arguments.out, go_on=arguments.append or arguments.watch, pictures=arguments.pictures,
                model=detector.name, source=named(arguments.inputs), limits=detector.limits, pool=detector.pool,
                command=keeping(arguments.run)))
            items = fresh(arguments, items, out.known)
        watch = drift_watch(arguments, detector.good_scores)
        stack.callback(progress.close)
        try:
            for result in detector.stream(pausing(items, out)):
                counts, unmoved = counts.with_one(result.verdict), unmoved + lost(result)
                if out:
                    out.add(result)
                if arguments.json:
                    print(json.dumps(result.as_dict()), flush=True)
                elif not out and not (arguments.quiet and result.verdict == "accepted"):
                    print(line(result), flush=True)
                told = watch.add(result.score) if watch else None
                if told:
                    print(json.dumps(told), flush=True)
                progress(sum(counts), total)
        except KeyboardInterrupt:  # how a watch and a camera end; of other inputs what is judged is kept
            say(arguments, "interrupted")
    seconds = time.monotonic() - started
    say(arguments, f"{counts.words}; {sum(counts) / max(seconds, 1e-9):.3g} a second" +
        (f"; {os.path.join(arguments.out, folder.PAGE)}" if out else ""))
    if unmoved:
        say(arguments, f"the part was not found in {unmoved} of them: the region stayed as it was drawn")
    return drift.STATUS if watch and watch.drifted else counts.status


def drift_watch(arguments, good):
    """What compares the scores with those of the `good` pictures, or None. InputError where asked for in vain."""
    from ..inspection import drift

    if arguments.window == 0 or arguments.window is None and not arguments.watch:
        return None
    try:
        return drift.Watch(good, arguments.window or drift.WINDOW, arguments.out)
    except InputError as error:
        if arguments.window is not None:
            raise
        print(f"warning: drift will not be noticed: {error}", file=sys.stderr)
        return None


def fresh(arguments, items, known):
    """The items that are not `known` from an earlier command; of a watched folder, as they come."""
    from ..inspection import folder, watching

    if not arguments.watch:
        return (item for item in items if item is None or folder.key(item.path, item.stamp) not in known)
    say(arguments, f"watching {arguments.inputs[0]}; judged before: {len(known)}; Ctrl-C ends it")
    return watching.watch(arguments.inputs[0], known.__contains__, idle=arguments.idle)


def pausing(items, out):
    """`items`; while nothing comes, what was judged is on its line and in the page."""
    for item in items:
        yield item
        if item is None and out:
            out.flush()
            out.write_page(every=PAGE_EVERY)


def named(inputs):
    """What was judged, for the page: by the last part of each path, for a page that is passed on."""
    parts = [word if word.startswith("camera:") else os.path.basename(os.path.normpath(word)) for word in inputs]
    if parts in ([], ["-"]):
        return "standard input"
    return printable(", ".join(parts[:5]) + ", ..." * (len(parts) > 5))


def keeping(run):
    """The command that keeps the threshold after it with the run, for the page; None for an export."""
    import shlex

    return run and f"grdnet calibrate --run {shlex.quote(os.path.basename(os.path.normpath(run)))} --set "


def line(result):
    """One line of the console."""
    if result.reason is not None:
        return f"{result.verdict:<10} {'':8} {printable(result.path)}: {result.reason}"
    parts = [f"{len(result.regions)} region{'' if len(result.regions) == 1 else 's'}"] if result.regions else []
    largest = max((region.diameter_um or 0 for region in result.regions), default=0)
    parts += [f"the largest {largest:.0f} um"] if largest else []
    parts += ["part not found, region as drawn"] if lost(result) else []
    found = f" ({', '.join(parts)})" if parts else ""
    return f"{result.verdict:<10} {result.score:8.4f} {printable(result.path)}{found}"


def lost(result):
    """Whether the region should go with the part, and the part was not found."""
    return result.part is not None and not result.part["found"]


def say(arguments, text):
    """What is for people: on standard error, where the other stream is for programs or for lines."""
    if not arguments.quiet:
        print(text, file=sys.stderr)
