"""What does a synthetic defect look like?

    image (B, H, W, C), roi, seed (B, 2) -> perturb.perturb -> noisy (B, H, W, C), mask (B, H, W, 1) {0, 1}

The noise function P of the paper: an outline (`shapes`, cut from `perlin` noise) is filled (`sources`). Takes `options.
Noise`; gives the same bits from the same seeds on every device. Knows no files and no networks.
"""
