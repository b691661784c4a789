"""The order in which a person's parts are painted.

Conventions:
    * Back to front: what is painted later covers what was painted before.
    * The depth of a limb is relative to the trunk: negative is behind it.
"""

from portrait_tf.data.synthetic.arms import paint_arm
from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.head import Head
from portrait_tf.data.synthetic.legs import paint_leg
from portrait_tf.data.synthetic.outerwear import (
    paint_coat,
    paint_coat_back,
    paint_scarf,
)
from portrait_tf.data.synthetic.parts import LEFT, RIGHT
from portrait_tf.data.synthetic.torso import (
    paint_belt,
    paint_hips,
    paint_neck,
    paint_neckline,
    paint_skirt,
    paint_top,
)


def paint_person(figure: Figure) -> None:
    """Paints the figure on its layer."""
    body, outfit, head = figure.body, figure.outfit, Head(figure)
    arms = sorted((RIGHT, LEFT), key=figure.arm_depth)
    behind = [side for side in arms if figure.arm_depth(side) < -0.3]
    if body.faces_camera:
        head.paint_length()
    if outfit.coat is not None and outfit.coat_length > 0.4:
        paint_coat_back(figure)
    for side in behind:
        paint_arm(figure, side)
    for side in sorted((RIGHT, LEFT), key=figure.leg_depth):
        paint_leg(figure, side)
    paint_neck(figure)
    if outfit.kind == "dress":
        paint_skirt(figure, outfit.top, "Dress", from_neck=True)
    elif outfit.kind == "jumpsuit":
        paint_hips(figure, outfit.top, "Jumpsuits")
        paint_top(figure, "Jumpsuits", 1.0, fade=0.25)
    else:
        if outfit.tucked:
            paint_top(figure, "UpperClothes", 0.95)
        if outfit.bottom_kind == "skirt":
            paint_skirt(figure, outfit.bottom, "Skirt", from_neck=False)
        else:
            paint_hips(figure, outfit.bottom, "Pants")
        if not outfit.tucked:
            paint_top(figure, "UpperClothes", outfit.hem)
    paint_belt(figure)
    paint_neckline(figure)
    if outfit.coat is not None:
        paint_coat(figure)
    for side in arms:
        if side not in behind and figure.arm_depth(side) < 0.0:
            paint_arm(figure, side)
    if outfit.scarf is not None:
        paint_scarf(figure)
    head.paint()
    if not body.faces_camera:
        head.paint_length()
    for side in arms:
        if side not in behind and figure.arm_depth(side) >= 0.0:
            paint_arm(figure, side)
