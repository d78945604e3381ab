"""The exceptions that a user meets: wrong input, and training that cannot go on."""


class InputError(ValueError):
    """What the user gave is wrong: a file, a folder, a config key or a flag.

    The message is one line: what was wrong, what was expected, which file or key. Command line tools print it and exit
    with status 2.
    """


class TrainingStopped(RuntimeError):
    """Training cannot go on; the message says at which step and why. Earlier checkpoints are untouched."""
