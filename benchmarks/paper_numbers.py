"""What the GRD-Net paper's tables say (Ferrari & Lamma 2023; numbers as in the journal), for paper_tables.py.

AUROC in percent as (image, pixel), None where the paper has none. Losses as (training, validation).
"""
EPOCHS = {1: 10, 2: 35, 3: 100}  # the epoch that each of the first three tables is about

CURVES = {  # {table: {category: {system: AUROC}}}
    1: {"hazelnut": {"draem": (73.1, 55.7), "grdnet": (96.7, 91.0)},
        "metal_nut": {"draem": (58.3, 49.0), "grdnet": (96.4, 69.3)},
        "pill": {"draem": (74.2, 66.0), "grdnet": (77.5, 90.5)}},
    2: {"hazelnut": {"draem": (85.3, 82.4), "grdnet": (99.5, 95.5)},
        "metal_nut": {"draem": (61.8, 49.0), "grdnet": (99.3, 69.3)},
        "pill": {"draem": (75.7, 86.5), "grdnet": (89.8, 95.5)}},
    3: {"hazelnut": {"draem": (98.8, 94.8), "grdnet": (100.0, 97.3)},
        "metal_nut": {"draem": (99.7, 86.7), "grdnet": (99.8, 70.4)},
        "pill": {"draem": (93.8, 94.8), "grdnet": (98.2, 95.5)}},
}
SYSTEMS = {  # table 4, after 200 epochs; PaDiM on ResNet-18, PatchCore on ResNet-50
    "hazelnut": {"ganomaly": (78.5, None), "draem": (100.0, 95.0), "padim": (None, 97.7), "patchcore": (100.0, 98.6),
                 "grdnet": (100.0, 97.4)},
    "metal_nut": {"ganomaly": (70.0, None), "draem": (98.7, 86.7), "padim": (None, 96.7), "patchcore": (99.7, 98.4),
                  "grdnet": (100.0, 96.2)},
    "pill": {"ganomaly": (74.3, None), "draem": (97.9, 94.8), "padim": (None, 94.7), "patchcore": (97.0, 97.1),
             "grdnet": (98.5, 95.8)},
    "cable": {"ganomaly": (75.7, None), "draem": (91.8, 94.7), "padim": (None, 96.7), "patchcore": (99.3, 98.2),
              "grdnet": (99.5, 98.1)},
}
LOSSES = {  # table 5, the generator alone after 500 epochs
    "vanilla": {"adversarial": (7.475e-4, 1.372e-3), "contextual": (0.02912, 0.03747), "encoder": (1.17e-4, 1.70e-4),
                "ssim": (0.0220, 0.0283)},
    "residual": {"adversarial": (1.380e-4, 4.501e-4), "contextual": (0.01460, 0.02488), "encoder": (4.70e-5, 1.44e-4),
                 "ssim": (0.0101, 0.0187)},
}
VIALS = {"image AUROC": 0.981, "pixel AUROC": 0.996, "accuracy": 0.932}  # table 6, 30 epochs on its own pictures
CASES = {  # table 7, percent: image AUROC, accuracy
    "overlap": (99.4, 94.6), "intersection": (100.0, 100.0), "intersection_overlap": (99.9, 99.1),
    "intersection_negated_overlap": (100.0, 100.0),
}
