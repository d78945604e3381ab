"""Names that a server, a converter or a command must know before it has loaded a model. No TensorFlow."""

DEFAULT = "serving_default"  # what a server calls that is told no name
TENSORS = "serve_float"      # what stands there otherwise, where another signature is the default
ONNX = "onnx/model.onnx"     # a file within a version
MAY_BE_DEFAULT = (DEFAULT, "serve_bytes", "score", "serve_uint8", "serve_bytes_map", "serve_regions")


def of_tensors(names) -> str:
    """The one of `names` that takes float pictures and gives their map."""
    return TENSORS if TENSORS in names else DEFAULT
