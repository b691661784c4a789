"""The order in which a person's parts are painted.

What is painted later covers what was painted before. The depth of a limb is relative
to the trunk: negative is behind it.
"""

from portrait_tf.data.synthetic import trunk
from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.head import Head
from portrait_tf.data.synthetic.limbs import paint_arm, paint_leg
from portrait_tf.data.synthetic.scene import LEFT, RIGHT


def paint_person(figure: Figure) -> None:
    """Paints the figure on its layer."""
    outfit, faces_camera, head = figure.outfit, figure.body.faces_camera, Head(figure)
    depths = {side: figure.arm_depth(side) for side in (RIGHT, LEFT)}
    arms = sorted(depths, key=depths.get)
    if faces_camera:
        head.paint_length()
    if outfit.coat is not None and outfit.coat_length > 0.4:
        trunk.paint_coat_back(figure)
    for side in (side for side in arms if depths[side] < -0.3):
        paint_arm(figure, side)
    for side in sorted((RIGHT, LEFT), key=figure.leg_depth):
        paint_leg(figure, side)
    trunk.paint_neck(figure)
    if outfit.kind == "dress":
        trunk.paint_skirt(figure, outfit.top, "Dress", from_neck=True)
    elif outfit.kind == "jumpsuit":
        trunk.paint_hips(figure, outfit.top, "Jumpsuits")
        trunk.paint_top(figure, "Jumpsuits", 1.0, fade=0.25)
    else:
        if outfit.tucked:
            trunk.paint_top(figure, "UpperClothes", 0.95)
        if outfit.bottom_kind == "skirt":
            trunk.paint_skirt(figure, outfit.bottom, "Skirt", from_neck=False)
        else:
            trunk.paint_hips(figure, outfit.bottom, "Pants")
        if not outfit.tucked:
            trunk.paint_top(figure, "UpperClothes", outfit.hem)
    trunk.paint_belt(figure)
    trunk.paint_neckline(figure)
    if outfit.coat is not None:
        trunk.paint_coat(figure)
    for side in (side for side in arms if -0.3 <= depths[side] < 0.0):
        paint_arm(figure, side)
    if outfit.scarf is not None:
        trunk.paint_scarf(figure)
    head.paint()
    if not faces_camera:
        head.paint_length()
    for side in (side for side in arms if depths[side] >= 0.0):
        paint_arm(figure, side)
