"""How much memory does a fit of PaDiM take, and how much is there? No TensorFlow."""
import os

NUMBERS = 234  # of a place at most, as far as it can be known before anything is made: wavelets of colour pictures


def needed(image_size, stride, numbers=NUMBERS, groups=1) -> int:
    """Bytes: matrices for each place of the grid, what is summed, its inverse and the copies on the way, 24 a number."""
    return 24 * (image_size[0] // stride) * (image_size[1] // stride) * groups * (numbers // groups) ** 2


def enough(number: int) -> bool:
    """Whether this machine has so many bytes, a fifth left free; True where the system does not say how many it has."""
    there = physical()
    return not there or number <= 0.8 * there


def physical() -> int:
    """Bytes of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
