"""Flags that several commands have, declared once; and docs/commands.md, printed from the commands' own parsers.

    python -m grdnet_tf.cli.flags > docs/commands.md
"""
import argparse
from importlib import import_module

from ..errors import InputError

HEAD = """# Commands

Printed by `python -m grdnet_tf.cli.flags` from the parsers of the commands. `train.py`, `evaluate.py`, `predict.py`
and `export.py` at the top are `grdnet train` and so on. Wrong input ends with one line and exit status 2, what had to
stop with 1, Ctrl-C with 130, unless a command says otherwise. The keys of a configuration:
[configuration.md](configuration.md).
"""


def batch(parser: argparse.ArgumentParser) -> None:
    """--batch; `check` judges it."""
    parser.add_argument("--batch", metavar="N", type=int, default=8, help="pictures, or tiles, at once (default: 8)")


def quiet(parser: argparse.ArgumentParser, help="no progress; warnings and errors alone") -> None:
    parser.add_argument("--quiet", action="store_true", help=help)


def at_least(arguments, **least) -> None:
    """InputError for a number below its least: `at_least(arguments, batch=1)`. None is no number."""
    for name, smallest in least.items():
        value = getattr(arguments, name)
        if value is not None and value < smallest:
            raise InputError(f"--{name.replace('_', '-')} {value}: expected {smallest} or more")


def reference() -> str:
    """Every flag of every command, as Markdown."""
    from .main import COMMANDS

    lines = [HEAD]
    for name in COMMANDS:
        parser = import_module(f"{__package__}.{name}").parser()
        lines += [f"## grdnet {name}", "", parser.description, "", "| flag | what it does |", "|---|---|"]
        for action in parser._actions:  # argparse has no other way to ask; the same from 3.9 to 3.13
            if action.dest != "help":
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in _row(parser, action)) + " |")
        lines += ["", *([parser.epilog, ""] if parser.epilog else [])]
    return "\n".join(lines)


def _row(parser, action):
    """("`--batch N`", what it does)."""
    name = action.option_strings[0] if action.option_strings else ""
    if len(action.option_strings) > 1:
        name = "`, `".join(action.option_strings)
    choices = "|".join(map(str, action.choices or ()))
    value = "" if action.nargs == 0 else action.metavar or choices or action.dest.upper()
    value = " ".join(value) if isinstance(value, tuple) else value
    shape = {"+": f"{value} ...", "*": f"{value} ..."}.get(action.nargs, value)
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    return f"`{' '.join(part for part in (name, shape) if part)}`", text


if __name__ == "__main__":
    print(reference(), end="")
