"""What every command prints alike, and how it ends. No TensorFlow."""
import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import tempfile
import time
import warnings

from .errors import ExportStopped, InputError, ProposalStopped, TrainingStopped

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # of TensorFlow: whoever sets it gets all lines of that level, those of its start too
_STARTING = re.compile(rb"""WARNING:\ All\ log\ messages\ before\ absl | [IWE]\d{4}\ \d\d:\d\d:\d+
                           | \d{4}-\d\d-\d\d\ \d\d:\d\d:\d\d\.\d+:\ [IWE]\  | To\ enable\ the\ following""", re.VERBOSE)


CLOSED_PIPE = 128 + 13  # as a shell shows it of what SIGPIPE ended


def ended(action, parse=None, argv=None) -> int:
    """What `action(parse(argv))` returns: the exit status. 2 with one line for the user's mistake, 1 for what must stop.

    A file that the system refuses is the user's to mend; 130 after Ctrl-C; 141 without a word where nobody reads on, as
    in `grdnet --help | head`. With --quiet among the arguments no progress, warnings and errors alone. Without `parse`
    it is `action()`.
    """
    hush_tensorflow()
    for stream in (sys.stdout, sys.stderr):  # what a terminal has no letter for is printed as \\xfc
        if hasattr(stream, "reconfigure"):  # not where somebody put another object in its place
            stream.reconfigure(errors="backslashreplace")
    _hush_readers()
    try:
        try:
            arguments = [parse(argv)] if parse else []
            _log(any(getattr(each, "quiet", False) for each in arguments))
            return action(*arguments)
        finally:
            print(end="", flush=True)  # here, where it can be answered, not when Python ends
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (TrainingStopped, ExportStopped, ProposalStopped) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        _let_go()
        return CLOSED_PIPE
    except OSError as error:
        _let_go()
        print(f"error: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:  # a run that has saved itself says at which step, and which signal it was
        print(f"stopped: {error}" if str(error) else "stopped: interrupted", file=sys.stderr)
        return getattr(error, "status", 130)


def _log(quiet):
    Progress.quiet = quiet
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("grdnet_tf").setLevel(logging.WARNING if quiet else logging.NOTSET)
    for chatty in ("tensorflow", "absl"):  # tell of every exchange between replicas, of every signature
        logging.getLogger(chatty).setLevel(logging.ERROR)


def _let_go():
    """What a stream holds that takes nothing any more goes nowhere: Python would try, and fail, again at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _hush_readers():
    """Nothing of what Pillow and OpenCV say of a file: metadata nobody asked for, damage that we name ourselves."""
    warnings.filterwarnings("ignore", module="PIL")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")  # where it is imported later
    cv2 = sys.modules.get("cv2")
    if cv2:
        (cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(1)  # 4 and 5


class _Hush(importlib.abc.MetaPathFinder):
    """Lets the first import of TensorFlow pass without what it says of itself: without a GPU, in E lines too."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _hushed(run, module)
        return spec


def hush_tensorflow() -> None:
    """None of TensorFlow's lines, unless the user has set a level: what goes wrong it raises too.

    Level 3, as on a machine without a GPU one of those in E comes with the first operation.
    """
    if LEVEL not in os.environ and "tensorflow" not in sys.modules:
        os.environ[LEVEL] = "3"
        sys.meta_path.insert(0, _Hush())


def _hushed(run, module):
    """`run(module)`; of what it writes to the error stream, by whatever library, only what is no line of a start."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        stream = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            run(module)
        finally:
            sys.stderr.flush()
            os.dup2(stream, 2)
            kept.seek(0)
            os.write(stream, b"".join(line for line in kept if not _STARTING.match(line)))
            os.close(stream)


def aligned(lines) -> str:
    """Rows of cells as text in columns, the first to the left."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(line[0].ljust(widths[0]) + "  " + "  ".join(c.rjust(w) for c, w in zip(line[1:], widths[1:]))
                     for line in lines)


class Progress:
    """How far a command is: on a terminal one line that is written over, elsewhere a line every ten seconds.

    `progress(done, total)` after every step, `total` None where nobody knows it; nothing is shown of what is over in
    two seconds, nor to those who asked for quiet.
    """
    quiet = False
    FIRST, EVERY = 2.0, 10.0  # seconds

    def __init__(self, what, stream=None, clock=time.monotonic):
        self.what, self.stream, self.clock = what, stream or sys.stderr, clock
        self.started = self.told = clock()

    def __call__(self, done, total):
        now, terminal = self.clock(), self.stream.isatty()
        pause = 0.2 if terminal else self.EVERY
        ended = total is not None and done >= total
        if self.quiet or now - self.started < self.FIRST or (not ended and now - self.told < pause):
            return
        self.told, rate = now, done / (now - self.started)
        left = f", {_duration((total - done) / rate)} left" if total is not None and not ended and rate else ""
        of = "" if total is None else f" of {total}"
        line = f"{done}{of} {self.what}, {rate:.3g} a second{left}"
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal and not ended else "\n", file=self.stream,
              flush=True)
        self._open = terminal and not ended

    def close(self):
        """End the line that is written over, where the work ended before its time."""
        if getattr(self, "_open", False):
            print(file=self.stream)
            self._open = False


def watched(things, what, total, size=lambda thing: 1):
    """Yields `things` and shows the progress; `size` of one is how many of `total` it is."""
    progress, done = Progress(what), 0
    for thing in things:
        yield thing
        done += size(thing)
        progress(done, total)


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
