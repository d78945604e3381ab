"""Which changes to the source would no test notice?

    python benchmarks/mutants.py grdnet_tf/evaluation/metrics.py --tests tests/evaluation --sample 30

Each mutant is one small change (a comparison, an operator, a number, a truth value, min and max, a keyword left out, a
statement left out) in a copy of the checkout, in which the tests run until the first failure. Survivors are printed as
`file:line: before -> after`. TensorFlow is imported once and every mutant is tried in a fork: a tool that starts Python
anew for each (cosmic-ray) spends most of its time on that import, and one that wraps every function (mutmut) hides the
source from AutoGraph. Unix only. Results: docs/lab/mutants.md.
"""
import argparse
import ast
import os
import random
import shutil
import signal
import sys
import tempfile

SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub,
         ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.And: ast.Or,
         ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "reduce_max": "reduce_min",
         "reduce_mean": "reduce_sum", "reduce_sum": "reduce_mean", "any": "all", "all": "any", "zeros_like": "ones_like",
         "ones_like": "zeros_like", "cos": "sin", "sin": "cos", "floor": "round", "round": "floor"}


def places(source):
    """[(number of the node, which change)] of every change that is known."""
    nodes = list(ast.walk(ast.parse(source)))
    skipped = {id(part) for node in nodes for part in ast.walk(node) if _message(node)}
    return [(index, which) for index, node in enumerate(nodes) if id(node) not in skipped and hasattr(node, "lineno")
            for which in range(len(_changes(node)))]


def mutant(source, place):
    """(line, before, after, mutated source), or None where the change is none."""
    index, which = place
    tree = ast.parse(source)
    node = list(ast.walk(tree))[index]
    before = ast.unparse(node)
    changed = _changes(node)[which](node)
    if changed is None:
        return None
    return node.lineno, before, ast.unparse(changed), ast.unparse(ast.fix_missing_locations(tree))


def _message(node):
    """Texts, annotations, imports and what raises: no number that a user sees depends on them."""
    return isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.arg))


def _changes(node):
    """Functions that change a copy of `node` in place and return it, None where nothing changes."""
    def swap(field, at=None):
        def change(new):
            holder = getattr(new, field)
            kind = SWAPS.get(type(holder[at] if at is not None else holder))
            if kind is None:
                return None
            if at is None:
                setattr(new, field, kind())
            else:
                holder[at] = kind()
            return new
        return change

    if isinstance(node, ast.Compare):
        return [swap("ops", at) for at in range(len(node.ops))]
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)):
        return [swap("op")]
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        return [lambda new: _set(new, "value", value)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        return [lambda new: _set(new, "op", ast.UAdd() if isinstance(new.op, ast.USub) else ast.Not())
                if isinstance(new.op, ast.USub) else _set(new, "operand", ast.UnaryOp(ast.Not(), new.operand))]
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        return [lambda new: _set(new, "attr", NAMES[new.attr])]
    if isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        return [lambda new: _set(new, "id", NAMES[new.id])]
    if isinstance(node, ast.Call):
        return [lambda new, at=at: new.keywords.pop(at) and new for at in range(len(node.keywords))]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [lambda new: _set(new, "value", ast.Constant(None))]
    return []


def _set(node, field, value):
    setattr(node, field, value)
    return node


def survives(root, tests, seconds):
    """Whether the tests pass in the checkout `root`; in a fork, which is ended after `seconds`."""
    child = os.fork()
    if child == 0:
        os.setsid()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1), os.dup2(silent, 2)
        os.chdir(root)
        sys.path.insert(0, root)
        import pytest

        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests])))
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(seconds)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="sources to change")
    parser.add_argument("--tests", nargs="+", required=True, help="files or folders of tests that must notice")
    parser.add_argument("--sample", type=int, default=0, help="mutants a file, drawn by --seed; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=600, help="after which a mutant counts as noticed")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import scipy.stats  # noqa: F401  imported once, here, for all forks
    import skimage.measure  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import tensorflow  # noqa: F401

    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "checkout")
        shutil.copytree(home, root, ignore=shutil.ignore_patterns(".git", "__pycache__", "runs", "demo_data"))
        if not survives(root, arguments.tests, arguments.seconds):
            sys.exit("the tests fail without any change")
        for file in arguments.files:
            with open(os.path.join(home, file), encoding="utf-8") as stream:
                source = stream.read()
            found = places(source)
            chosen = random.Random(arguments.seed).sample(found, min(len(found), arguments.sample or len(found)))
            lived = 0
            for line, before, after, changed in filter(None, (mutant(source, place) for place in sorted(chosen))):
                with open(os.path.join(root, file), "w", encoding="utf-8") as stream:
                    stream.write(changed)
                if survives(root, arguments.tests, arguments.seconds):
                    lived += 1
                    print(f"{file}:{line}: {before} -> {after}", flush=True)
            with open(os.path.join(root, file), "w", encoding="utf-8") as stream:
                stream.write(source)
            print(f"{file}: {len(found)} changes known, {len(chosen)} tried, {lived} survived", flush=True)


if __name__ == "__main__":
    main()
