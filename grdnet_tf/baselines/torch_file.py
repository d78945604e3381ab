"""Which arrays are in a file that PyTorch wrote? Read without PyTorch, and without running what the file says.

The legacy format is a pickle of names and shapes, with the numbers behind it:

    pickles: magic number, protocol, sizes of types, {name: tensor}, [keys of the storages]
    then for each key, in that order: the count of its numbers (int64), the numbers

A pickle may call any function. Here it can name an ordered dictionary, the tensor's constructor and two types of
numbers; anything else is refused.
"""
import pickle
from collections import OrderedDict
from typing import Dict, NamedTuple

import numpy as np

from ..errors import InputError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    count: int


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides in numbers."""
    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


def _rebuild_tensor(storage, offset, shape, strides, *_):
    return _Tensor(storage, offset, shape, strides)


_KNOWN = {("collections", "OrderedDict"): OrderedDict, ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
          ("torch", "FloatStorage"): np.dtype("<f4"), ("torch", "LongStorage"): np.dtype("<i8")}


class _Unpickler(pickle.Unpickler):

    def find_class(self, module, name):
        if (module, name) not in _KNOWN:
            raise InputError(f"asks for {module}.{name}, which no weights need; refused")
        return _KNOWN[module, name]

    def persistent_load(self, pid):
        _, dtype, key, _, count, _ = pid
        return _Storage(key, dtype, count)


def read(path: str) -> Dict[str, np.ndarray]:
    """{name: array} of the state that the file at `path` holds.

    Raises: InputError naming `path` if it cannot be read, is damaged, or asks for anything but arrays.
    """
    try:
        with open(path, "rb") as stream:
            magic, protocol, _, state, keys = (_Unpickler(stream).load() for _ in range(5))
            if (magic, protocol) != (MAGIC, PROTOCOL):
                raise ValueError("no weights of PyTorch's legacy format")
            wanted = {tensor.storage.key: tensor.storage for tensor in state.values()}
            numbers = {key: _numbers(stream, wanted[key]) for key in keys}
        return {name: _view(numbers[tensor.storage.key], tensor) for name, tensor in state.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except Exception as error:  # a damaged pickle can raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: damaged ({reason})") from None


def _numbers(stream, storage):
    count = int.from_bytes(stream.read(8), "little")
    numbers = np.frombuffer(stream.read(count * storage.dtype.itemsize), storage.dtype)
    if not count == storage.count == len(numbers):
        raise ValueError(f"{storage.count} numbers expected, {len(numbers)} found")
    return numbers


def _view(numbers, tensor):
    """A copy of the tensor; what would lie outside of its storage is an error."""
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides))
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or last >= len(numbers):
        raise ValueError("a tensor outside of its numbers")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset:], tensor.shape, strides).copy()
