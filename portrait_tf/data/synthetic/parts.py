"""Names and numbers of a person's parts.

Conventions:
    * Left and right are the person's. A side is `RIGHT` or `LEFT`, -1 or 1: the sign
      of x in the photo if the person faces the camera.
    * An owner is the body part a pixel belongs to, whatever it wears: it says whether
      a joint is covered by another part. 0 is nobody.
"""

from portrait_tf.labels import LABELS

LABEL = {name: index for index, name in enumerate(LABELS)}

RIGHT, LEFT = -1, 1
SIDES = {RIGHT: "Right", LEFT: "Left"}

OWNER_TRUNK, OWNER_HEAD = 1, 2
OWNER_ARM = {RIGHT: 3, LEFT: 4}
OWNER_LEG = {RIGHT: 5, LEFT: 6}
