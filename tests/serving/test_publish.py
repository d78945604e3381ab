"""A version is there whole or not at all, and never replaced."""
import os

import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.serving import publish


def test_publishing_is_all_or_nothing(tmp_path):
    home = str(tmp_path / "model")

    def write(folder):
        os.makedirs(os.path.join(folder, "variables"))
        open(os.path.join(folder, "variables", "data"), "wb").close()
        assert not os.path.isdir(os.path.join(os.path.dirname(folder), "3"))  # no server takes it yet
        return {"model": "m"}

    def fail(folder):
        write(folder)
        raise RuntimeError("in the middle")

    other = str(tmp_path / "other")
    with pytest.raises(RuntimeError, match="in the middle"):
        publish.publish(3, {home: write, other: fail})
    assert not os.path.exists(home) and not os.path.exists(other)
    final, = publish.publish(3, {home: write})
    assert final == os.path.join(home, "3") and os.listdir(home) == ["3"] and os.stat(final).st_mode & 0o111
    assert publish.verify(final)["files"] == {  # the well-known SHA-256 of nothing
        "variables/data": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    assert publish.free_version(home) == 4 and publish.free_version(home, 1) == 1
    os.mkdir(os.path.join(home, "5"))  # empty: a plain rename would replace it
    with pytest.raises(InputError, match="never overwritten"):
        publish.publish(5, {other: lambda folder: {}, home: lambda folder: {}})
    assert sorted(os.listdir(home)) == ["3", "5"] and os.listdir(os.path.join(home, "5")) == []
    assert not os.path.exists(other)


def test_a_failing_rename_takes_the_earlier_ones_back(tmp_path):
    home = str(tmp_path / "model")
    again = os.path.join(home, ".")  # one home twice: the second finds the first, once that is renamed
    with pytest.raises(InputError, match=r"cannot write .*/model/\./3: Directory not empty"):
        publish.publish(3, {home: lambda folder: {}, again: lambda folder: {}})
    assert os.listdir(tmp_path) == []
