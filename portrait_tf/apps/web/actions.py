"""What the page's buttons do: photos and paintings in, what the page shows out."""

import contextlib
import dataclasses
import io
import json
import pathlib
import re

import numpy as np
from PIL import Image

from portrait_tf.apps.web.pictures import (
    Painting,
    enlarge_hole,
    preview_size,
    read_painting,
    shrink,
    shrink_labels,
)
from portrait_tf.apps.web.sessions import Session
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import scale_joints
from portrait_tf.inference.extrapolation import Length, Margins, Wish, extend_photo
from portrait_tf.photos import PhotoFile, decode_photo, write_png
from portrait_tf.photos.drawing import data_url, show_hole
from portrait_tf.portrait import (
    Completion,
    Portrait,
    Prepared,
    prepare_completion,
    prepare_extrapolation,
)

_CANDIDATES = 4


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a visitor may send.

    Attributes:
        megabytes: Of a file.
        megapixels: Of a photo, and of what it is extended to.
    """

    megabytes: int = 64
    megapixels: float = 50.0

    @property
    def bytes(self) -> int:
        """Of a file."""
        return self.megabytes * 10**6

    def check(self, size: tuple[int, int], name: str | pathlib.Path) -> None:
        """Raises PortraitError: more pixels than are allowed."""
        if size[0] * size[1] > self.megapixels * 1e6:
            raise PortraitError(
                f"expected at most {self.megapixels:g} megapixels, received "
                f"{size[0] * size[1] / 1e6:.1f} ({size[0]}x{size[1]}, height x width)",
                path=name,
            )


@dataclasses.dataclass(frozen=True)
class Result:
    """What the page shows after a completion.

    Attributes:
        pair: JSON for the before / after slider.
        body: JSON for the editor: the map that was painted after; or None.
        photo: A PNG file.
        mask: Another, the hole at the photo's size; None if borders were extended.
        size: Height and width of the photo.
        notes: Sentences for the visitor.
    """

    pair: str
    body: str | None
    photo: pathlib.Path
    mask: pathlib.Path | None
    size: tuple[int, int]
    notes: list[str]


def read_upload(path: str | pathlib.Path, limits: Limits) -> PhotoFile:
    """Reads what a visitor sent, and removes the file at once.

    Raises:
        PortraitError: No photo, or too large a one; the message has the file's name
            without its folder.
    """
    path = pathlib.Path(path)
    name = pathlib.Path(path.name)
    try:
        data = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    # The header alone: a small file may hold a huge picture. Of what is no picture,
    # `decode_photo` says more.
    stated = (0, 0)
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as image:
        stated = image.size[::-1]
    limits.check(stated, name)
    photo = decode_photo(data, name)
    limits.check(photo.size, name)
    return photo


def scene_json(session: Session) -> str:
    """What the editor needs of a photo."""
    height, width = session.preview
    return json.dumps(
        {
            "id": session.scene,
            "photo": data_url(shrink(session.photo.rgb(), (height, width))),
            "width": width,
            "height": height,
        }
    )


def find_body(
    portrait: Portrait, session: Session, text: str | None, limits: Limits
) -> str:
    """Stage 1's map and pose as JSON for the editor; sees past hole and borders.

    Joints that are placed stay, and the others and the map follow them.
    """
    painting = read_painting(text, session.scene, session.preview)
    photo = shrink(session.photo.rgb(), session.preview)
    hole, joints = painting.hole, painting.joints
    corner = np.zeros(3, np.float32)
    if painting.extends and any(painting.margins.values()):
        margins = Margins.from_fractions(session.preview, **painting.margins)
        limits.check(margins.result_size(session.preview), "the extended photo")
        photo, hole = extend_photo(photo, margins)
        corner[:2] = margins.left, margins.top
    given = joints + corner if joints.any() else None
    found = portrait.parse(photo, hole if hole.any() else None, given)
    top, left = int(corner[1]), int(corner[0])
    height, width = session.preview
    labels = found.parsing[top : top + height, left : left + width]
    places = None
    if found.joints is not None:
        places = np.where(joints[:, 2:] > 0, joints, found.joints - corner)
    session.turn += 1
    return _body_json(session, labels, places)


def complete(
    portrait: Portrait, session: Session, text: str | None, limits: Limits
) -> Result:
    """Fills the hole, or extends the borders, at the photo's own resolution."""
    return _results(portrait, session, text, limits, 1)[0]


def candidates(
    portrait: Portrait, session: Session, text: str | None, limits: Limits
) -> list[Result]:
    """Four answers of different poses, `complete`'s first."""
    return _results(portrait, session, text, limits, _CANDIDATES)


def _results(
    portrait: Portrait, session: Session, text: str | None, limits: Limits, count: int
) -> list[Result]:
    painting = read_painting(text, session.scene, session.preview)
    if painting.extends:
        prepared = _prepare_borders(session, painting, limits)
    else:
        prepared = _prepare_hole(session, painting)
    answers = portrait.candidates(prepared, count=count)
    folder, stem = session.next_folder(), _stem(session.photo)
    kind, mask = "extended" if painting.extends else "whole", None
    if not painting.extends:
        mask = folder / f"{stem}-mask.png"
        write_png(mask, prepared.hole)
    session.results = []
    for number, answer in enumerate(answers, 1):
        path = folder / f"{stem}-{kind}{f'-{number}' if number > 1 else ''}.png"
        if painting.extends:
            result = _show_borders(session, painting, answer, path)
        else:
            result = _show_hole(session, mask, answer, path)
        session.results.append(result)
    return session.results


def _prepare_hole(session: Session, painting: Painting) -> Prepared:
    size = session.photo.size
    hole = enlarge_hole(painting.hole, size)
    if not hole.any():
        raise PortraitError("nothing is painted yet; paint over what is to be filled")
    if hole.all():
        raise PortraitError("all of the photo is painted over; leave some of it")
    own = None if painting.own is None else shrink_labels(painting.own, size)
    joints = _joints_of_photo(session, painting)
    return prepare_completion(session.photo, hole, own, joints=joints)


def _prepare_borders(session: Session, painting: Painting, limits: Limits) -> Prepared:
    margins = painting.margins
    if not any(margins.values()):
        raise PortraitError(
            "no border is moved yet; drag the frame outward, or set a slider"
        )
    height, width = session.photo.size
    size = (
        round(height * (1 + margins["top"] + margins["bottom"])),
        round(width * (1 + margins["left"] + margins["right"])),
    )
    limits.check(size, "the extended photo")
    wish = Wish({side: Length(part, "part") for side, part in margins.items()})
    joints = _joints_of_photo(session, painting)
    return prepare_extrapolation(session.photo, wish, joints=joints)


def _show_hole(
    session: Session, mask: pathlib.Path, completion: Completion, path: pathlib.Path
) -> Result:
    notes = completion.notes + completion.save(path)
    before = shrink(session.photo.rgb(), session.preview)
    labels = shrink_labels(completion.labels, session.preview)
    body = _body_json(session, labels, None, completed=True)
    pair = _pair_json(session, before, completion, session.preview)
    return Result(pair, body, path, mask, session.photo.size, notes)


def _show_borders(
    session: Session, painting: Painting, completion: Completion, path: pathlib.Path
) -> Result:
    notes = completion.notes + completion.save(path)
    height, width = session.photo.size
    size = completion.labels.shape
    preview = preview_size(size)
    top = round(painting.margins["top"] * height)
    left = round(painting.margins["left"] * width)
    canvas = np.full((*size, 3), 255, np.uint8)
    canvas[top : top + height, left : left + width] = session.photo.rgb()
    before = show_hole(shrink(canvas, preview), shrink_labels(completion.hole, preview))
    pair = _pair_json(session, before, completion, preview)
    return Result(pair, None, path, None, size, notes)


def _joints_of_photo(session: Session, painting: Painting) -> np.ndarray:
    """The joints that are placed, in pixels of the photo."""
    return scale_joints(painting.joints, session.preview, session.photo.size)


def _stem(photo: PhotoFile) -> str:
    return re.sub(r"[^\w.-]+", "_", photo.path.stem)[:80] or "photo"


def _pair_json(
    session: Session, before: np.ndarray, completion: Completion, size: tuple[int, int]
) -> str:
    after = completion.rgb()
    return json.dumps(
        {
            "before": data_url(before),
            "after": data_url(shrink(after, size)),
            "height": size[0],
            "width": size[1],
            "turn": session.turn,
        }
    )


def _body_json(
    session: Session,
    labels: np.ndarray,
    joints: np.ndarray | None,
    completed: bool = False,
) -> str:
    return json.dumps(
        {
            "id": session.scene,
            "labels": data_url(labels, lossless=True),
            "joints": None if joints is None else joints.round(3).tolist(),
            "completed": completed,
            "turn": session.turn,
        }
    )
