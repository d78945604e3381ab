"""The public list: what `import grdnet_tf` offers, and that it costs no TensorFlow until it is asked for."""
import os
import platform
import subprocess
import sys

import pytest

import grdnet_tf


def test_the_public_names_are_listed_and_are_there():
    assert dir(grdnet_tf) == sorted(grdnet_tf.__all__)
    assert {"GRDNet", "Detection", "Network", "Loss", "Noise", "load_config", "build_model", "load_run",
            "InputError"} <= set(dir(grdnet_tf))
    for name in dir(grdnet_tf):
        assert getattr(grdnet_tf, name) is not None


def test_a_public_name_is_the_one_of_its_own_file():
    from grdnet_tf.model.grdnet import Detection, GRDNet
    from grdnet_tf.options import Noise

    assert (grdnet_tf.GRDNet, grdnet_tf.Detection, grdnet_tf.Noise) == (GRDNet, Detection, Noise)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'grdnet_tf' has no attribute 'GRDnet'"):
        grdnet_tf.GRDnet
    with pytest.raises(ImportError):
        from grdnet_tf import nothing  # noqa: F401


def test_the_package_and_its_list_import_no_tensorflow(pytestconfig):
    code = ("import sys, grdnet_tf; dir(grdnet_tf); grdnet_tf.InputError; grdnet_tf.load_config('cpu')\n"
            "sys.exit('tensorflow' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], cwd=pytestconfig.rootpath).returncode == 0


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="oneDNN is for x86 processors")
@pytest.mark.parametrize("asked, expected", [(None, ["1", "True"]), ("0", ["0", "False"])])
def test_tensorflow_computes_by_onednn_on_every_x86_processor_unless_the_user_has_set_it(asked, expected, pytestconfig):
    """TensorFlow itself says so after the import; where there is AVX-512 it would unasked, so the variable is read too."""
    code = ("import os, grdnet_tf, tensorflow\nfrom tensorflow.python.util import _pywrap_util_port\n"
            "print(os.environ['TF_ENABLE_ONEDNN_OPTS'], _pywrap_util_port.IsMklEnabled())")
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment.update({} if asked is None else {"TF_ENABLE_ONEDNN_OPTS": asked})
    done = subprocess.run([sys.executable, "-c", code], cwd=pytestconfig.rootpath, env=environment, capture_output=True)
    assert done.stdout.decode().split() == expected
