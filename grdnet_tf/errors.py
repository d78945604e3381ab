"""The one exception for wrong input."""


class InputError(ValueError):
    """What the user gave is wrong: a file, a folder, a config key or a flag.

    The message is one line: what was wrong, what was expected, which file or key. Command line tools print it and exit
    with status 2.
    """
