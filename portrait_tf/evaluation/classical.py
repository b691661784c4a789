"""Methods that are not trained, for comparison.

A method takes a photo, RGB `uint8` `[H, W, 3]`, and a mask, `uint8` `[H, W]`, non-zero
= hole, and returns the completed photo, `uint8` `[H, W, 3]`.
"""

from collections.abc import Callable

import cv2
import numpy as np

from portrait_tf.evaluation.patchmatch import inpaint_patches

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]

MISSING = "needs opencv-contrib-python-headless, which is not installed"
"""Why a method is not `available`."""

_RADIUS = 3


def telea(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """OpenCV's fast marching (Telea, 2004)."""
    return cv2.inpaint(photo, mask, _RADIUS, cv2.INPAINT_TELEA)


def navier_stokes(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """OpenCV's transport along isophotes (Bertalmio et al., CVPR 2001)."""
    return cv2.inpaint(photo, mask, _RADIUS, cv2.INPAINT_NS)


def frequency_selective(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """OpenCV's fast frequency selective reconstruction (Seiler and Kaup, 2010).

    It is part of opencv-contrib-python-headless.
    """
    result, known = np.zeros_like(photo), np.where(mask, 0, 255).astype(np.uint8)
    bgr = np.ascontiguousarray(photo[..., ::-1])
    cv2.xphoto.inpaint(bgr, known, result, cv2.xphoto.INPAINT_FSR_FAST)
    # It changes known pixels, too.
    return np.where(known[..., None] > 0, photo, result[..., ::-1])


CLASSICAL: dict[str, Method] = {
    "telea": telea,
    "navier_stokes": navier_stokes,
    "patchmatch": inpaint_patches,
    "fsr": frequency_selective,
}


def available(name: str) -> bool:
    """Whether the packages of a method of `CLASSICAL` are installed."""
    return name != "fsr" or hasattr(cv2, "xphoto")
