"""What makes a file whole: the order of syncs and the rename; what is no number."""
import os

import numpy as np
import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.options import Loss, Noise, Train
from grdnet_tf.storage import fingerprint, write_text


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_after(tmp_path, monkeypatch):
    """Its own sync, the rename, the sync of its folder: a power cut leaves the old or the new whole."""
    done, sync, replace = [], os.fsync, os.replace

    def kind(descriptor):
        return "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"

    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(kind(descriptor)) or sync(descriptor))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("rename") or replace(*paths))
    write_text(str(tmp_path / "a"), "text")
    assert done == ["file", "rename", "folder"]


def test_the_fingerprint_sees_the_names_alone():
    array = np.zeros(3, np.float32)
    assert fingerprint({"a": array}) != fingerprint({"b": array})


@pytest.mark.parametrize("section,key", [(Train, "epochs"), (Train, "learning_rate"), (Loss, "l1"),
                                         (Noise, "min_area")])
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(section, key, value):
    with pytest.raises(InputError, match=f"{key} = {value}; expected a (whole )?number"):
        section(**{key: value})
