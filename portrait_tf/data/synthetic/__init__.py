"""Synthetic portraits: articulated people whose label map and joints are known.

A seed decides everything: build, pose, clothes, hair, light, backdrop and camera.
The same seed and size give the same arrays, and another size the same person.

Modules, each using only those before it: `scene` and `materials`; `painter`, the layer
a person is painted on; `body` and `wardrobe`, who the person is; `figure`, that person
before the camera; `limbs`, `trunk`, `head`, `person`, the drawing; `backdrop`, the
place; `portrait`, one sample; `writer`, a folder of them in LIP's layout.

Conventions:
    * The scene is three-dimensional: x to the right of the photo, y up from the
      ground, z towards the camera; the unit is the person's head height.
    * Left and right are the person's, so the right arm of somebody who faces the
      camera is on the left of the photo.
    * Only the names below are public.

Source: our own; nothing here is taken from a photo or from another generator.
"""

from portrait_tf.data.synthetic.portrait import synthesize
from portrait_tf.data.synthetic.writer import SEED_STRIDE, VAL_OFFSET, write_synthetic

__all__ = ["SEED_STRIDE", "VAL_OFFSET", "synthesize", "write_synthetic"]
