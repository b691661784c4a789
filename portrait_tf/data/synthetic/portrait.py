"""Person, place and camera put together.

Conventions:
    * A seed decides everything. Person, scene and lens have a generator each, so a
      change to one leaves the others as they are.
    * The layer is twice as fine as the photo. Photo and label map are reduced from
      it, and joints keep their place: pixel centers are whole numbers in both.
    * Joints: x, y, v; v is 1 where another part covers the joint.
"""

from dataclasses import replace

import cv2
import numpy as np

from portrait_tf.data.sample import Sample
from portrait_tf.data.synthetic.backdrop import Backdrop
from portrait_tf.data.synthetic.body import Body, joint_points, random_body
from portrait_tf.data.synthetic.figure import Figure
from portrait_tf.data.synthetic.painter import Painter
from portrait_tf.data.synthetic.person import paint_person
from portrait_tf.data.synthetic.scene import (
    LEFT,
    OWNER_ARM,
    OWNER_HEAD,
    OWNER_LEG,
    OWNER_TRUNK,
    RIGHT,
    Camera,
    Light,
    fixed,
    random_camera,
    random_light,
    spread,
)
from portrait_tf.data.synthetic.wardrobe import random_outfit
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import inside, scaled
from portrait_tf.labels import JOINTS

_SUPERSAMPLING = 2


def _majority(labels: np.ndarray) -> np.ndarray:
    """Halves a label map: the most frequent of each four, the first among equals."""
    a, b = labels[0::2, 0::2], labels[0::2, 1::2]
    c, d = labels[1::2, 0::2], labels[1::2, 1::2]
    rest = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.where((a == b) | (a == c) | (a == d), a, rest)


def _shade(
    cover: np.ndarray, camera: Camera, light: Light, body: Body, strength: float
) -> np.ndarray:
    """How much of the light reaches the ground past the person, `[H, W]`."""
    height, width = cover.shape
    lean = -light.direction[0] / max(-light.direction[1], 0.2)
    flat = light.direction[2] / max(-light.direction[1], 0.2)
    flat = float(np.clip(flat * camera.height / camera.distance, 0.08, 0.6))
    matrix = np.array(
        [[1, -lean, lean * camera.ground], [0, flat, camera.ground * (1 - flat)]]
    )
    cast = cv2.warpAffine(cover, matrix, (width, height))
    cast = cv2.GaussianBlur(cast, (0, 0), max(0.8, 0.12 * camera.unit))
    rows = np.arange(height, dtype=np.float32)
    reach = (camera.ground - rows) / (camera.unit * 3.5)
    cast *= np.clip(1 - reach, 0, 1)[:, None]
    contact = np.zeros_like(cover)
    for side in (RIGHT, LEFT):
        foot = body.ankles[side] + 0.25 * body.feet[side]
        lift = max(0.0, float(body.ankles[side][1]) - 0.5)
        center = camera.project(foot * [1, 0, 1])
        axes = (round(0.5 * camera.unit * 16), round(0.16 * camera.unit * 16))
        where = fixed(center)[0, 0].tolist()
        cv2.ellipse(contact, where, axes, 0, 0, 360, 1 - lift, -1, shift=4)
    contact = cv2.GaussianBlur(contact, (0, 0), max(0.8, 0.1 * camera.unit))
    dark = 1 - strength * cast
    dark *= 1 - 0.5 * contact
    return dark


def _develop(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """What a camera adds: softness, gamma, white balance, vignette and noise."""
    height, width = picture.shape[:2]
    sigma = rng.choice([0.0, 0.0, 0.45, 0.7]) * height / 480
    if sigma > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    balance = 1 + rng.normal(0, 0.025, 3)
    gamma = rng.uniform(0.85, 1.15)
    gain = rng.uniform(0.96, 1.06)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    fall = 1 - rng.uniform(0, 0.14) * (rows**2 + columns**2) / 2
    picture = cv2.multiply(picture, spread(fall))
    # Noise of the brightness: chroma noise would not survive a camera's JPEG.
    noise = rng.standard_normal((height, width), dtype=np.float32)
    picture += spread(rng.uniform(1.0, 3.0) * noise)
    ramp = (np.arange(256) / 255)[:, None] ** gamma * gain * balance * 255
    table = np.clip(ramp, 0, 255).round().astype(np.uint8)[None]
    picture += 0.5
    quantized = np.clip(picture, 0, 255, out=picture).astype(np.uint8)
    return cv2.LUT(quantized, table)


def _joints(
    body: Body, camera: Camera, owner: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Joints in the photo; those another limb covers are hidden."""
    flat = camera.project(joint_points(body))
    joints = np.zeros((len(JOINTS), 3), np.float32)
    joints[:, :2] = scaled(flat, 1 / _SUPERSAMPLING)
    arms = set(OWNER_ARM.values())
    for index, name in enumerate(JOINTS):
        if not inside(joints[index, :2], size):
            joints[index] = np.nan
            continue
        column, row = np.minimum(flat[index].round(), np.flip(owner.shape) - 1)
        above = int(owner[int(row), int(column)])
        letter, _, part = name.partition("_")
        if not part:
            joints[index, 2] = above in arms
            continue
        side = RIGHT if letter == "R" else LEFT
        limb = OWNER_LEG if part in ("Ankle", "Knee", "Hip") else OWNER_ARM
        own = {limb[side], OWNER_TRUNK, OWNER_HEAD, 0}
        if part in ("Elbow", "Wrist") and side not in body.pocketed:
            own.discard(OWNER_TRUNK)
        if part in ("Shoulder", "Hip"):
            # Both thighs meet at the crotch: the neighbor's cloth hides nothing.
            own |= set(limb.values())
        joints[index, 2] = above not in own
    return joints


def synthesize(seed: int, size: tuple[int, int] = (480, 320)) -> Sample:
    """Draws the person, the place and the camera that `seed` stands for.

    Args:
        seed: Not negative. Equal seeds give equal samples.
        size: Height and width of the photo, pixels, at least 16 each.

    Returns:
        A sample with an RGB `uint8` photo, LIP's labels 0 to 19 and 16 joints in
        pixels of the photo. A joint that another limb covers is hidden (v = 1), one
        outside the photo is three times NaN.

    Raises:
        PortraitError: If the seed is negative or the size too small.
    """
    height, width = size
    if seed < 0:
        raise PortraitError(f"A seed must not be negative; received {seed}.")
    if height < 16 or width < 16:
        raise PortraitError(
            f"A synthetic portrait needs at least 16 x 16 pixels; received {size}."
        )
    person, scene, lens = (np.random.default_rng([seed, part]) for part in range(3))
    body = random_body(person)
    outfit = random_outfit(person, body)
    light = random_light(scene)
    layer_size = height * _SUPERSAMPLING, width * _SUPERSAMPLING
    camera = random_camera(scene, *layer_size, float(body.head[1]) + 0.6)
    noise = scene.standard_normal((128, 128), dtype=np.float32)
    noise = cv2.GaussianBlur(np.pad(noise, 36, "wrap"), (0, 0), sigmaX=4, sigmaY=9)
    noise = noise[36:-36, 36:-36]
    painter = Painter(*layer_size, camera.unit, light, noise / noise.std())
    paint_person(Figure(painter, camera, body, outfit, person))

    # Details may stray past the person by a pixel; the layer must be black there.
    cover = (painter.label > 0).astype(np.uint8)
    cv2.multiply(painter.color, spread(cover), dst=painter.color)
    joints = _joints(body, camera, painter.owner, (height, width))
    layer, cover = (
        cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
        for fine in (painter.color, np.float32(cover))
    )
    unit, x, ground = (
        length / _SUPERSAMPLING for length in (camera.unit, camera.x, camera.ground)
    )
    reduced = replace(camera, unit=unit, x=x, ground=ground)
    picture = Backdrop(scene, height, width, reduced).render()
    shade = _shade(cover, reduced, light, body, scene.uniform(0.15, 0.45))
    picture = cv2.multiply(picture, spread(shade))
    picture = cv2.multiply(picture, spread(1 - cover)) + np.float32(layer)
    return Sample(
        name=f"synthetic_{seed:06d}",
        photo=_develop(lens, picture),
        parsing=_majority(painter.label),
        joints=joints,
    )
