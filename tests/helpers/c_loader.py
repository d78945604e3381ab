"""A SavedModel run by TensorFlow's C library, without its Python: python c_loader.py LIBRARIES EXPORT REQUEST ANSWER

LIBRARIES holds libtensorflow_cc.so.2 and libtensorflow_framework.so.2. REQUEST and ANSWER are .npz: arrays by the names
of their tensors ("serving_default_images:0"), in the request also "outputs", the names that are asked for. Strings are
arrays of bytes objects' lengths and one buffer: NAME + ".lengths", NAME + ".bytes".
"""
import ctypes
import sys

import numpy as np

KINDS = {1: np.float32, 3: np.int32, 4: np.uint8}  # TF_DataType of what is asked and answered
STRING, WORD = 7, 24  # bytes of a TF_TString
POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t


class Output(ctypes.Structure):
    _fields_ = [("operation", POINTER), ("index", ctypes.c_int)]


def library(folder):
    ctypes.CDLL(f"{folder}/libtensorflow_framework.so.2", ctypes.RTLD_GLOBAL)
    tf = ctypes.CDLL(f"{folder}/libtensorflow_cc.so.2", ctypes.RTLD_GLOBAL)
    for name, result, *arguments in (
            ("TF_NewStatus", POINTER), ("TF_NewGraph", POINTER), ("TF_NewSessionOptions", POINTER),
            ("TF_GetCode", ctypes.c_int, POINTER), ("TF_Message", ctypes.c_char_p, POINTER),
            ("TF_LoadSessionFromSavedModel", POINTER, POINTER, POINTER, ctypes.c_char_p,
             ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, POINTER, POINTER, POINTER),
            ("TF_GraphOperationByName", POINTER, POINTER, ctypes.c_char_p),
            ("TF_AllocateTensor", POINTER, ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, SIZE),
            ("TF_TensorData", POINTER, POINTER), ("TF_TensorByteSize", SIZE, POINTER),
            ("TF_TensorType", ctypes.c_int, POINTER), ("TF_NumDims", ctypes.c_int, POINTER),
            ("TF_Dim", ctypes.c_int64, POINTER, ctypes.c_int),
            ("TF_StringInit", None, POINTER), ("TF_StringCopy", None, POINTER, ctypes.c_char_p, SIZE),
            ("TF_SessionRun", None, POINTER, POINTER, ctypes.POINTER(Output), ctypes.POINTER(POINTER), ctypes.c_int,
             ctypes.POINTER(Output), ctypes.POINTER(POINTER), ctypes.c_int, POINTER, ctypes.c_int, POINTER, POINTER)):
        function = getattr(tf, name)
        function.restype, function.argtypes = result, arguments
    return tf


def allocated(tf, kind, shape, size):
    return tf.TF_AllocateTensor(kind, (ctypes.c_int64 * len(shape))(*shape), len(shape), size)


def tensor(tf, values):
    """Of an array of numbers, or of a list of bytes."""
    if isinstance(values, list):
        made = allocated(tf, STRING, [len(values)], WORD * len(values))
        for i, value in enumerate(values):
            place = tf.TF_TensorData(made) + WORD * i
            tf.TF_StringInit(place)
            tf.TF_StringCopy(place, value, len(value))
        return made
    kind = next(kind for kind, dtype in KINDS.items() if dtype == values.dtype)
    made = allocated(tf, kind, values.shape, values.nbytes)
    ctypes.memmove(tf.TF_TensorData(made), np.ascontiguousarray(values).ctypes.data, values.nbytes)
    return made


def array(tf, found):
    shape = [tf.TF_Dim(found, axis) for axis in range(tf.TF_NumDims(found))]
    values = ctypes.string_at(tf.TF_TensorData(found), tf.TF_TensorByteSize(found))
    return np.frombuffer(values, KINDS[tf.TF_TensorType(found)]).reshape(shape)


def main(libraries, export, request, answer):
    tf, given = library(libraries), dict(np.load(request))
    wanted, feeds = [str(name) for name in given.pop("outputs")], {}
    for name, values in given.items():
        if name.endswith(".lengths"):
            ends = np.cumsum(values)
            whole = given[name[:-len("lengths")] + "bytes"].tobytes()
            feeds[name[:-len(".lengths")]] = [whole[end - size:end] for end, size in zip(ends, values)]
        elif not name.endswith(".bytes"):
            feeds[name] = values
    status, graph = tf.TF_NewStatus(), tf.TF_NewGraph()

    def sound():
        if tf.TF_GetCode(status):
            sys.exit(tf.TF_Message(status).decode())

    tags = (ctypes.c_char_p * 1)(b"serve")
    session = tf.TF_LoadSessionFromSavedModel(tf.TF_NewSessionOptions(), None, export.encode(), tags, 1, graph, None,
                                              status)
    sound()

    def outputs(names):
        found = (Output * len(names))()
        for i, name in enumerate(names):
            operation, _, index = name.partition(":")
            found[i] = Output(tf.TF_GraphOperationByName(graph, operation.encode()), int(index))
        return found

    asked = (POINTER * len(feeds))(*(tensor(tf, values) for values in feeds.values()))
    told = (POINTER * len(wanted))()
    tf.TF_SessionRun(session, None, outputs(feeds), asked, len(feeds), outputs(wanted), told, len(wanted), None, 0, None,
                     status)
    sound()
    np.savez(answer, **{name: array(tf, found) for name, found in zip(wanted, told)})


if __name__ == "__main__":
    main(*sys.argv[1:])
