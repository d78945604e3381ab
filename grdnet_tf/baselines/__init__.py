"""Which other detectors can be had through the same commands, to compare GRD-Net with?

    by steps, as GRDNet        -> GANomaly, DRAEM                      -> Detection
    images (B, H, W, C) [0, 1] -> features (activations of a network trained on ImageNet) (B, h, w, channels)
    features of good parts     -> padim.fit, patchcore.fit in one pass -> arrays -> PaDiM, PatchCore
    images, roi                -> PaDiM(...), PatchCore(...)           -> Detection without a reconstruction

Takes batches {"image", "roi"} and plain values; gives Keras models that evaluation and serving take as they take
GRDNet. `detector` is what the last two share; `torch_file` reads the backbone's weights.
"""
