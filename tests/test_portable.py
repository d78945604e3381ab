"""The library without what Windows has not: no `fcntl` or `resource`, no fsync of a folder, no fchmod, sync, fork ...

Each test is a process of its own in which these are taken away from this package; Windows' `msvcrt` is stood in for.
What it cannot show is how Windows treats open files; see docs/reliability.md for what was run where.
"""
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
pytest.importorskip("fcntl", reason="this is such a system")

# `msvcrt.locking` as Microsoft documents it: bytes from the position on, an OSError (EACCES) where another has them.
WITHOUT = """
import builtins, fcntl, os, stat, sys, types
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2
def locking(descriptor, mode, count):
    assert mode == 2 and count == 1
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, os.lseek(descriptor, 0, os.SEEK_CUR))
msvcrt.locking = locking
MISSING = {"fcntl", "resource", "grp", "pwd", "termios", "tty", "pty", "syslog", "posix"}
imported = builtins.__import__
def importing(name, *more, **other):
    caller = (more[0] if more else other.get("globals")) or {}
    if str(caller.get("__name__")).startswith("grdnet_tf"):
        if name in MISSING:
            raise ImportError(f"No module named {name!r}")
        if name == "msvcrt" and %(msvcrt)s:
            return msvcrt
    return imported(name, *more, **other)
builtins.__import__ = importing
for name in ("fchmod", "fchown", "chown", "sync", "getuid", "geteuid", "getgid", "mkfifo", "statvfs", "getloadavg",
             "O_NOFOLLOW", "O_DIRECTORY", "posix_fallocate"):  # not what NumPy and TensorFlow ask for on Linux: uname
    if hasattr(os, name):
        delattr(os, name)
opened, fsync = os.open, os.fsync
def opening(path, flags, *more, **other):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return opened(path, flags, *more, **other)
def syncing(descriptor):
    assert not stat.S_ISDIR(os.fstat(descriptor).st_mode)
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    return fsync(descriptor)
os.open, os.fsync = opening, syncing
sys.argv[0] = "without"
"""


def run(code, *arguments, msvcrt=True, **environment):
    return subprocess.run([sys.executable, "-c", WITHOUT % {"msvcrt": msvcrt} + code, *map(str, arguments)], cwd=ROOT,
                          capture_output=True, text=True, env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", **environment))


def test_every_file_imports():
    done = run("import importlib, pkgutil, grdnet_tf\n"
               "for found in pkgutil.walk_packages(grdnet_tf.__path__, 'grdnet_tf.'):\n"
               "    if not found.name.endswith('__main__') and '.serving.on_' not in found.name:\n"  # of extras: test_on_*
               "        importlib.import_module(found.name)\n"
               "from grdnet_tf.training import run_folder\n"
               "print(run_folder.peak_rss_mb())\n")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "None", done.stderr


def test_files_folders_and_versions_are_written(tmp_path):
    code = ("import numpy as np\n"
            "from grdnet_tf import storage\n"
            "from grdnet_tf.evaluation.thresholds import Limits\n"
            "from grdnet_tf.serving import publish, server_files\n"
            "os.chdir(sys.argv[1])\n"
            "storage.write_arrays('x.npz', {'a': np.ones(3)}, {'epoch': 1})\n"
            "storage.write_json('x.json', {})\n"
            "def write(folder):\n"
            "    os.mkdir(os.path.join(folder, 'variables'))\n"
            "    open(os.path.join(folder, 'variables', 'data'), 'w').close()\n"
            "    return {}\n"
            "publish.publish(1, {'m': write})\n"
            "publish.verify('m/1')\n"
            "server_files.write_server_files('.', 'm', server_files.Description(1, (8, 8), 3, Limits(.5, .5), (1,), '2.15.1'))\n"
            "print(storage.read_arrays('x.npz')[1], sorted(os.listdir('.')))\n")
    done = run(code, tmp_path)
    assert done.stdout == "{'epoch': 1} ['m', 'serving', 'x.json', 'x.npz']\n", done.stderr


def test_the_lock_keeps_processes_apart(tmp_path):
    code = ("from grdnet_tf import storage\n"
            "with storage.lock(sys.argv[1]):\n"
            "    print('ready', flush=True)\n"
            "    sys.stdin.readline()\n")
    path = str(tmp_path / "lock")
    first = subprocess.Popen([sys.executable, "-c", WITHOUT % {"msvcrt": True} + code, path], cwd=ROOT, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == "ready\n"
        second = run(code, path)
        assert f"InputError: {path}: held by process {first.pid} on " in second.stderr and second.stdout == ""
    finally:
        first.kill()
        first.communicate()
    third = run(code, path)
    assert third.stdout == "ready\n" and os.listdir(tmp_path) == [], third.stderr


def test_a_system_without_any_lock_warns_and_goes_on(tmp_path):
    done = run("from grdnet_tf import storage\nwith storage.lock(sys.argv[1]):\n    print('held')\n", tmp_path / "lock",
               msvcrt=False)
    assert done.stdout == "held\n" and "cannot be locked here" in done.stderr and os.listdir(tmp_path) == []


def test_a_terminal_that_cannot_print_an_umlaut(tmp_path):
    """As a Windows console with an old code page: the report's path, a warning, an error."""
    code = ("from grdnet_tf.console import ended\n"
            "from grdnet_tf.errors import InputError\n"
            "def action():\n"
            "    print('report: Stra\\u00dfe \\u20ac', os.fsdecode(b'\\xff'))\n"
            "    raise InputError('Gr\\u00fcn \\u20ac')\n"
            "sys.exit(ended(action))\n")
    done = run(code, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stdout) == (2, "report: Stra\\xdfe \\u20ac \\udcff\n")
    assert done.stderr == "error: Gr\\xfcn \\u20ac\n"


@pytest.mark.slow
def test_from_the_demo_set_to_an_export(tmp_path):
    """The commands one after the other, as short as they go."""
    code = ("from grdnet_tf.cli.main import main\n"
            "os.chdir(sys.argv[1])\n"
            "from grdnet_tf.demo.dataset import write_demo\n"
            "write_demo('demo', 0, 8, 2, 1, 1, (64, 64))\n"
            "tiny = [f'--set={pair}' for pair in ('data.image_size=[32, 32]', 'data.held_out=0.25',\n"
            "        'network.widths=[4, 8]', 'network.stem=0', 'network.blocks=1', 'network.latent=4',\n"
            "        'network.segmenter_widths=[4, 8]', 'network.score_pool=3', 'network.discriminator_widths=[4]',\n"
            "        'train.batch_size=2', 'train.epochs=1')]\n"
            "print([main(['check', 'demo']), main(['train', '--data', 'demo', '--run', 'run', *tiny]),\n"
            "       main(['evaluate', '--run', 'run']), main(['evaluate', '--run', 'run']),\n"
            "       main(['evaluate', '--compare', 'run']),\n"
            "       main(['export', '--run', 'run', '--out', 'out', '--batch-sizes', '1'])])\n"
            "print(sorted(os.listdir('.')), os.listdir('out/demo'), os.path.isfile('run/evaluation/report.html'))\n")
    done = run(code, tmp_path)
    assert done.stdout.splitlines()[-2:] == [
        "[0, 0, 0, 0, 0, 0]", "['comparison', 'demo', 'out', 'run'] ['1'] True"], done.stderr[-3000:]
