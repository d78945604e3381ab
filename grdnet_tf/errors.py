"""The exceptions that a user meets: wrong input, training that cannot go on, what is not proposed or published."""
import os


class InputError(ValueError):
    """What the user gave is wrong: a file, a folder, a config key or a flag.

    The message is one line: what was wrong, what was expected, which file or key. Command line tools print it and exit
    with status 2.
    """

    def __init__(self, message: str = ""):
        super().__init__(printable(message))


class TrainingStopped(RuntimeError):
    """Training cannot go on; the message says at which step and why. Earlier checkpoints are untouched."""


class ProposalStopped(RuntimeError):
    """The good pictures do not show what was looked for; the message says why. Nothing was written."""


class ExportStopped(RuntimeError):
    """An export failed its own check; the message says which. Nothing was published, versions that were there stand."""


def printable(path) -> str:
    """A path or text as any UTF-8 file and terminal takes it: bytes of a name that are not UTF-8 as \\udcXX."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
