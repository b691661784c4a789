"""LIP's labels and joints: their order, colors, and what a mirror swaps.

Source: the *Look into Person* data set (arXiv 1703.05446) as JPPNet reads it
(arXiv 1804.01984): 20 labels, 0 is the background; 16 joints.
"""

import pathlib

import numpy as np

from portrait_tf.errors import PortraitError

LABELS = (
    "Background",
    "Hat",
    "Hair",
    "Glove",
    "Sunglasses",
    "UpperClothes",
    "Dress",
    "Coat",
    "Socks",
    "Pants",
    "Jumpsuits",
    "Scarf",
    "Skirt",
    "Face",
    "LeftArm",
    "RightArm",
    "LeftLeg",
    "RightLeg",
    "LeftShoe",
    "RightShoe",
)
NUM_LABELS = len(LABELS)

FACE_LABELS = (LABELS.index("Face"), LABELS.index("Sunglasses"))
HAIR_LABELS = (LABELS.index("Hair"), LABELS.index("Hat"))
"""With `FACE_LABELS`, the head."""

SHOE_LABELS = (LABELS.index("LeftShoe"), LABELS.index("RightShoe"))

LABEL_GROUPS = {
    "background": ("Background",),
    "head": ("Hat", "Hair", "Sunglasses", "Face"),
    "torso": ("UpperClothes", "Dress", "Coat", "Jumpsuits", "Scarf"),
    "arms": ("Glove", "LeftArm", "RightArm"),
    "legs": ("Socks", "Pants", "Skirt", "LeftLeg", "RightLeg"),
    "shoes": ("LeftShoe", "RightShoe"),
}
"""Part of the body of each label; our choice. In a hole, the part of the body is often
certain where the garment, or left and right, is not."""

GROUP_OF_LABEL = np.array(
    [
        index
        for label in LABELS
        for index, group in enumerate(LABEL_GROUPS.values())
        if label in group
    ]
)
"""`GROUP_OF_LABEL[label]` is the position of the label's group in `LABEL_GROUPS`."""

GROUP_MEMBERS = np.eye(len(LABEL_GROUPS), dtype=np.float32)[GROUP_OF_LABEL]
"""`[20, 6]`: 1.0 where a label is in a group."""

VOID_LABEL = 255
"""Pixels of this value have no label: they count in no loss and in no score."""

VOID_NAME = "void"
"""Name of `VOID_LABEL`."""

ATR_TO_LIP = {
    "Background": "Background",
    "Hat": "Hat",
    "Hair": "Hair",
    "Sunglasses": "Sunglasses",
    "Upper-clothes": "UpperClothes",
    "Skirt": "Skirt",
    "Pants": "Pants",
    "Dress": "Dress",
    "Belt": VOID_NAME,
    "Left-shoe": "LeftShoe",
    "Right-shoe": "RightShoe",
    "Face": "Face",
    "Left-leg": "LeftLeg",
    "Right-leg": "RightLeg",
    "Left-arm": "LeftArm",
    "Right-arm": "RightArm",
    "Bag": "Background",
    "Scarf": "Scarf",
}
"""ATR's 18 labels in ATR's order, and LIP's name of each.

LIP has neither bag nor belt. A bag is no part of the body: in LIP, what a person
carries is background. A belt lies on the body, so as background it would teach a gap at
the waist; it belongs to the garment above or below it, and the map does not say which:
void. ATR does not tell coats, gloves, socks and jumpsuits from other clothes.
"""

JOINTS = (
    "R_Ankle",
    "R_Knee",
    "R_Hip",
    "L_Hip",
    "L_Knee",
    "L_Ankle",
    "Pelvis",
    "Spine",
    "Neck",
    "Head",
    "R_Wrist",
    "R_Elbow",
    "R_Shoulder",
    "L_Shoulder",
    "L_Elbow",
    "L_Wrist",
)
NUM_JOINTS = len(JOINTS)

BONES = (
    (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
    (10, 11), (11, 12), (12, 8), (8, 13), (13, 14), (14, 15),
)  # fmt: skip
"""Pairs of joints that a drawing joins by a line."""

HEAD_SEGMENT = (9, 8)
"""Head top and neck: their distance is the head size of PCKh."""

PCKH_JOINTS = tuple(range(6)) + tuple(range(8, 16))
"""LIP's PCKh leaves out pelvis and spine."""

FLIPPED_LABELS = np.arange(NUM_LABELS)
FLIPPED_LABELS[[14, 15, 16, 17, 18, 19]] = [15, 14, 17, 16, 19, 18]
"""`FLIPPED_LABELS[label]` is the label in the mirrored photo."""

FLIPPED_JOINTS = np.arange(NUM_JOINTS)
FLIPPED_JOINTS[[0, 5, 1, 4, 2, 3, 10, 15, 11, 14, 12, 13]] = [
    5, 0, 4, 1, 3, 2, 15, 10, 14, 11, 13, 12,
]  # fmt: skip
"""`joints[FLIPPED_JOINTS]` are the joints of the mirrored photo, in order."""

# The colors of LIP's own drawings, which people recognize.
PALETTE = np.array(
    [
        (0, 0, 0),
        (128, 0, 0),
        (255, 0, 0),
        (0, 85, 0),
        (170, 0, 51),
        (255, 85, 0),
        (0, 0, 85),
        (0, 119, 221),
        (85, 85, 0),
        (0, 85, 85),
        (85, 51, 0),
        (52, 86, 128),
        (0, 128, 0),
        (0, 0, 255),
        (51, 170, 221),
        (0, 255, 255),
        (85, 255, 170),
        (170, 255, 85),
        (255, 255, 0),
        (255, 170, 0),
    ],
    np.uint8,
)


def color_parsing(parsing: np.ndarray) -> np.ndarray:
    """Draws a label map in LIP's colors.

    Args:
        parsing: Integers `[..., H, W]` or `[..., H, W, 1]`; values above 19 are void.

    Returns:
        `uint8` RGB of shape `[..., H, W, 3]`; void is mid-gray.
    """
    parsing = np.asarray(parsing)
    if parsing.ndim >= 3 and parsing.shape[-1] == 1:
        parsing = parsing[..., 0]
    table = np.full((256, 3), 128, np.uint8)
    table[:NUM_LABELS] = PALETTE
    return table[parsing]


def check_joints(joints: np.ndarray, name: str | pathlib.Path = "joints") -> np.ndarray:
    """Checks joints that a user gives.

    Args:
        joints: `[16, 3]` or `[B, 16, 3]`, in LIP's order: x and y in pixels of the
            photo, then 1 where the joint is given and 0 where stage 1 is to find it.
        name: What to call them in a message.

    Returns:
        `float32` of that shape; rows of joints that are not given are 0.

    Raises:
        PortraitError: The type, shape or a number is another one.
    """
    joints = np.asarray(joints)
    wanted = (NUM_JOINTS, 3)
    if (
        joints.dtype.kind not in "fiu"
        or joints.ndim not in (2, 3)
        or joints.shape[-2:] != wanted
    ):
        raise PortraitError(
            path=name,
            expected="numbers of the shape [16, 3] or [batch, 16, 3]",
            received=f"{joints.dtype} {list(joints.shape)}",
        )
    given = joints[..., 2] == 1
    wrong = ~given & (joints[..., 2] != 0)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise PortraitError(
            path=name,
            expected="1 where a joint is given and 0 elsewhere, as the third number",
            received=f"{joints[place][2]:g} for {JOINTS[place[-1]]}",
        )
    # What float32 cannot hold is no place either.
    most = np.finfo(np.float32).max
    wrong = given & ~(np.abs(joints[..., :2]) <= most).all(-1)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise PortraitError(
            path=name,
            expected=f"x and y of {JOINTS[place[-1]]} as finite numbers",
            received=f"{joints[place][0]:g}, {joints[place][1]:g}",
        )
    return np.where(given[..., None], joints, 0).astype(np.float32)
