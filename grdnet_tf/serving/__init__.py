"""From a trained model to files that a server loads: SavedModel, warmup, server settings, TensorRT, ONNX."""
