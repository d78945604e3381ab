"""How does a trained model become what a server loads, and how is that asked?

    GRDNet, thresholds -> export (folding, signatures, selftest, warmup, publish) -> DIR/<name>/<version>, DIR/serving
    the SavedModel     -> convert -> ONNX, TensorRT

Takes a trained model; gives a versioned SavedModel with all of the decision inside, whole or not at all. `client` is
copied beside it and imports nothing of this package.
"""
