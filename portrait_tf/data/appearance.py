"""Other clothes' colors and other backgrounds, by the label map.

Both leave the labels as they are. They work at the networks' size, where a border
between two labels is one or two pixels of both colors; so what changes at a border is
spread over as many, or a rim of the old color would tell the networks where it is.
The ideas are copy-paste (arXiv 2012.07177) and color jitter, a label at a time; how
strong each is, is our choice. Nothing here needs TensorFlow.
"""

import cv2
import numpy as np

from portrait_tf.labels import LABELS, SHOE_LABELS, VOID_LABEL

_GARMENT_NAMES = (
    "Hat", "Glove", "UpperClothes", "Dress", "Coat", "Socks", "Pants", "Jumpsuits",
    "Scarf", "Skirt",
)  # fmt: skip
GARMENTS = (*((LABELS.index(name),) for name in _GARMENT_NAMES), SHOE_LABELS)
"""Labels that are recolored together; not skin, face, hair and glasses."""

_IS_GARMENT = np.zeros(256, np.uint8)
_IS_GARMENT[[label for labels in GARMENTS for label in labels]] = 1

_GARMENT_CHANCE = 0.75  # Of each garment of a sample; so new colors meet old ones.
_CHROMA_GAIN = 0.6, 1.4
_CHROMA_SHIFT = 28.0  # Of 255: so that gray clothes get a color, too.
_LIGHTNESS_GAIN = 0.85, 1.15
_LIGHTNESS_SHIFT = 50.0
_MEAN_LIGHTNESS = 35.0, 225.0  # What a garment's mean may become: its folds stay.

_CLOSING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_SMALL = 4  # The hole that another person leaves is filled at a part of the size.


def _lab_change(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """A random affine map of Lab as OpenCV has it in 8 bits: `[3, 4]`.

    Args:
        lightness: Mean of the region.
    """
    angle = rng.uniform(-np.pi, np.pi)
    chroma = rng.uniform(*_CHROMA_GAIN)
    turn = chroma * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    direction = rng.uniform(-np.pi, np.pi)
    shift = rng.uniform(0, _CHROMA_SHIFT)
    shift *= np.array([np.cos(direction), np.sin(direction)])
    gain = rng.uniform(*_LIGHTNESS_GAIN)
    wanted = lightness + rng.uniform(-_LIGHTNESS_SHIFT, _LIGHTNESS_SHIFT)
    # A mean that is outside already is not pushed further out.
    lowest, highest = _MEAN_LIGHTNESS
    wanted = np.clip(wanted, min(lowest, lightness), max(highest, lightness))
    change = np.zeros((3, 4))
    change[0, 0], change[0, 3] = gain, wanted - gain * lightness
    change[1:, 1:3] = turn
    change[1:, 3] = 128 - turn @ [128, 128] + shift
    return change


def recolor_clothes(
    rng: np.random.Generator, image: np.ndarray, parsing: np.ndarray
) -> np.ndarray:
    """Gives clothes other colors: hue, saturation and lightness, one change a garment.

    All pixels of a garment change by the same map of Lab, so patterns and folds stay.
    Both shoes are one garment. Pixels of the background that touch a garment take a
    part of its change, as they show a part of it; all others stay as they are.

    Args:
        image: RGB `uint8` `[h, w, 3]`.
        parsing: LIP's labels, `uint8` `[h, w]`.

    Returns:
        RGB `uint8` `[h, w, 3]`.
    """
    clothes = _IS_GARMENT[parsing]
    left, top, width, height = cv2.boundingRect(clothes)
    if not width:
        return image
    # With room for what touches a garment.
    box = (
        slice(max(0, top - 2), top + height + 2),
        slice(max(0, left - 2), left + width + 2),
    )
    before, labels_inside = image[box], parsing[box]
    lab = cv2.cvtColor(before, cv2.COLOR_RGB2LAB)
    recolored = lab.copy()
    changed = np.zeros(labels_inside.shape, np.uint8)
    present = np.bincount(labels_inside.ravel(), minlength=VOID_LABEL + 1) > 0
    for labels in GARMENTS:
        if not present[list(labels)].any() or rng.random() >= _GARMENT_CHANCE:
            continue
        # Labels of one garment follow each other.
        garment = cv2.inRange(labels_inside, labels[0], labels[-1])
        change = _lab_change(rng, cv2.mean(lab, garment)[0])
        cv2.copyTo(cv2.transform(lab, change), garment, recolored)
        changed |= garment
    after = cv2.cvtColor(recolored, cv2.COLOR_LAB2RGB)
    difference = cv2.subtract(after, before, dtype=cv2.CV_16S)
    difference = cv2.copyTo(difference, changed)
    # What a pixel shows of a garment changes as the garment does.
    beside = (labels_inside == 0).view(np.uint8)
    cv2.copyTo(cv2.GaussianBlur(difference, (3, 3), 0), beside, difference)
    result = image.copy()
    result[box] = cv2.add(before, difference, dtype=cv2.CV_8U)
    return result


def without_person(image: np.ndarray, parsing: np.ndarray) -> np.ndarray:
    """A photo's background, its person painted over, blurred: for behind another one.

    Telea's inpainting at a quarter of the size; what is painted is smooth.

    Args:
        image: RGB `uint8` `[h, w, 3]`.
        parsing: LIP's labels, `uint8` `[h, w]`; what is void counts as person.

    Returns:
        RGB `uint8` `[h, w, 3]`.
    """
    height, width = parsing.shape
    person = (parsing > 0).view(np.uint8)
    # Shadows, and what the annotator left out; and two pixels for the soft border.
    reach = 2 * (max(1, round(height / 64)) + 2) + 1
    person = cv2.dilate(person, np.ones((reach, reach), np.uint8))
    if person.all():
        return cv2.blur(image, (height // 2, width // 2))
    small = max(2, width // _SMALL), max(2, height // _SMALL)
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    hidden = cv2.resize(255 * person, small, interpolation=cv2.INTER_AREA)
    coarse = cv2.inpaint(coarse, (hidden > 0).view(np.uint8), 2, cv2.INPAINT_TELEA)
    filled = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return _blend(image, filled, 1.0 - cv2.blur(person.astype(np.float32), (5, 5)))


def exchange_background(
    image: np.ndarray, parsing: np.ndarray, covered: np.ndarray, backdrop: np.ndarray
) -> np.ndarray:
    """Puts the person in front of another background.

    The person is every labeled pixel, and gaps as thin as a belt. Pixels
    without a label inside the photo stay as they are. A bag is background in LIP: it
    is cut off.

    Args:
        image: RGB `uint8` `[h, w, 3]`.
        parsing: LIP's labels, `uint8` `[h, w]`, 255 is void.
        covered: `uint8` `[h, w]`, non-zero inside the photo.
        backdrop: RGB `uint8` `[h, w, 3]`.

    Returns:
        RGB `uint8` `[h, w, 3]`; `image` itself, if there is nobody in it.
    """
    void = parsing == VOID_LABEL
    person = ((parsing > 0) & ~void).view(np.uint8)
    if not person.any():
        return image
    person = cv2.morphologyEx(person, cv2.MORPH_CLOSE, _CLOSING)
    person |= (void & (covered > 0)).view(np.uint8)
    soft = cv2.GaussianBlur(person.astype(np.float32), (5, 5), 0)
    # From the border inwards: the pixel outside shows the old background.
    return _blend(image, backdrop, np.clip(2.0 * soft - 1.0, 0.0, 1.0))


def _blend(image: np.ndarray, other: np.ndarray, part: np.ndarray) -> np.ndarray:
    """`part` `[h, w]` of the image, the rest of the other one."""
    return cv2.blendLinear(image, other, part, 1.0 - part)
