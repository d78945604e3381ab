"""GRD-Net for TensorFlow: anomaly detection by reconstruction and segmentation, with a region of interest.

    from grdnet_tf import GRDNet
"""
__version__ = "0.1.0"
__all__ = ["Detection", "GRDNet", "Objective"]


def __getattr__(name):
    """The model classes, imported when they are asked for: `--help` must not wait for TensorFlow."""
    if name in __all__:
        from . import model

        return getattr(model, name)
    raise AttributeError(f"module 'grdnet_tf' has no attribute {name!r}")
