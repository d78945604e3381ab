"""Which good pictures are held out, one by one and by the part that they show."""
import cv2
import numpy as np
import pytest
from drawn import photographs

from grdnet_tf.data.holding_out import MOST, hold_out, parts_shown
from grdnet_tf.data.records import Record
from grdnet_tf.errors import InputError


def numbered(n):
    return [Record(str(i), None, None, 0, "good") for i in range(n)]


@pytest.mark.parametrize("n, share, count", [(20, 0.1, 2), (3, 0.01, 1), (3, 0.99, 2), (2, 0.5, 1)])
def test_hold_out_takes_at_least_one_and_never_all(n, share, count):
    train, held = hold_out(numbered(n), share, seed=0)
    assert len(held) == count
    assert sorted(train + held, key=lambda r: int(r.image)) == numbered(n)
    assert [int(r.image) for r in train] == sorted(int(r.image) for r in train)


def test_hold_out_depends_on_its_arguments_alone():
    # Written down once: another choice would mix validation and training pictures of a run that is resumed.
    # They are the four of "0:0" ... "0:19" whose SHA-256 comes first.
    assert [r.image for r in hold_out(numbered(20), 0.2, seed=0)[1]] == ["4", "7", "15", "18"]
    assert len({tuple(hold_out(numbered(50), 0.2, seed)[1]) for seed in range(5)}) == 5


@pytest.mark.parametrize("n, share", [(1, 0.1), (0, 0.1), (5, 0.0), (5, 1.0)])
def test_hold_out_refuses_what_leaves_nothing(n, share):
    with pytest.raises(InputError):
        hold_out(numbered(n), share, 0)


# By part


@pytest.fixture
def shots(tmp_path):
    return lambda *given: [Record(path, None, None, 0, "good") for path in photographs(tmp_path, *given)]


def part_of(record):
    return record.image[-7:-4]


def test_pictures_of_one_part_are_told_from_those_of_others(shots):
    records = shots(20, 4)
    parts = parts_shown(records, (40, 60))
    assert len({(number, part_of(record)) for number, record in zip(parts, records)}) == 20
    assert set(parts) == set(range(20))


def test_parts_are_told_apart_in_a_camera_s_few_bits_of_16(shots):
    records = shots(20, 4)
    for record in records:  # 10 bit, a hundredth of the range in contrast
        pixels = cv2.imread(record.image, cv2.IMREAD_GRAYSCALE).astype(np.float32)
        cv2.imwrite(record.image, (400 + pixels).astype(np.uint16))
    assert len(set(parts_shown(records, (40, 60)))) == 20


@pytest.mark.parametrize("seed", [0, 1])
def test_no_part_is_both_trained_on_and_held_out(shots, seed):
    records = shots(20, 4)
    train, held = hold_out(records, 0.2, seed, parts_shown(records, (40, 60)))
    assert len(held) == 16 and len(train) == 64
    assert not {part_of(record) for record in held} & {part_of(record) for record in train}
    one_by_one = hold_out(records, 0.2, seed)
    assert {part_of(record) for record in one_by_one[1]} & {part_of(record) for record in one_by_one[0]}


def test_parts_photographed_once_are_held_out_as_without(shots):
    records = shots(40, 1)
    parts = parts_shown(records, (40, 60))
    assert len(set(parts)) == 40
    assert hold_out(records, 0.1, 0, parts) == hold_out(records, 0.1, 0)


def test_what_does_not_fit_into_the_share_is_passed_over():
    parts = np.array([0] * 30 + list(range(1, 11)) + list(range(1, 11)))
    train, held = hold_out(numbered(50), 0.2, 0, parts)
    assert len(held) == 10 and all(int(record.image) >= 30 for record in held)
    assert len({parts[int(record.image)] for record in held}) == 5


def test_one_chain_of_pictures_is_held_out_as_without(tmp_path):
    """A part that lies at any angle: each picture is like the next."""
    records = []
    for i in range(60):
        picture = np.full((64, 64), 200, np.uint8)
        y, x = 24 * np.sin(i * np.pi / 60), 24 * np.cos(i * np.pi / 60)
        cv2.line(picture, (round(32 - x), round(32 - y)), (round(32 + x), round(32 + y)), 40, 7)
        path = str(tmp_path / f"{i:02d}.png")
        cv2.imwrite(path, picture)
        records.append(Record(path, None, None, 0, "good"))
    parts = parts_shown(records, (64, 64))
    assert np.bincount(parts).max() > 6
    assert hold_out(records, 0.1, 0, parts) == hold_out(records, 0.1, 0)


def test_identical_pictures_are_parts_of_their_own(tmp_path):
    """Nothing is nearer than usual where nothing differs."""
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, np.full((20, 20), 9, np.uint8))
    records = 5 * [Record(path, None, None, 0, "good")]
    assert sorted(parts_shown(records, (20, 20))) == [0, 1, 2, 3, 4]


def test_of_too_many_pictures_none_is_compared():
    assert parts_shown(numbered(MOST + 1), (8, 8)) is None
