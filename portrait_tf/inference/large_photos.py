"""Photos of any size through networks of one size.

The networks see a crop about the person and the hole, shrunk to their working size;
what they paint is enlarged and blended in, inside the hole alone. NumPy and OpenCV:
the networks are behind an engine (`engines`), which sees small pictures
only, so that memory does not grow with the photo. How and how well:
`docs/large_photos.md`.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import (
    Box,
    any_in_cells,
    enlarge_labels,
    inside,
    scale_joints,
    shrink,
    shrunk_size,
)
from portrait_tf.inference.blending import blend, cubic_weights
from portrait_tf.inference.engines import DEFAULT_WORKING_SIZE, Engine
from portrait_tf.labels import VOID_LABEL, check_joints
from portrait_tf.photos.masks import as_hole_mask
from portrait_tf.photos.parsing_maps import check_parsing_map
from portrait_tf.startup import has_tensorflow, load_tensorflow

SOFT_FROM = 2.0
"""What is enlarged this often shows its softness, and a note says so."""

_GRID = 512
"""Holes are grouped on a grid of at most so many cells a side."""
_JOIN = 0.02
"""Holes, and a hole and a person, nearer than this part of the view go together."""
_LEAST_PERSON = 0.002
"""Smaller parts of the view that stage 1 takes for people are ignored."""
_MARGIN = 0.08
"""Around the person and the hole, as a part of their box."""
_ALONE = 1.0
"""Around a hole without a person, as a part of its longer side."""
_SAME = 0.8
"""A crop that has as much of its view is the view: one call of the networks less."""
_SPECK_SIDE = 5.5
"""Holes of fewer pixels, as the networks would see them, need no person."""
_SMALLER = 1.5
"""A hole that would make a crop's person smaller than so many times goes in parts."""
_LEAST_BORDER = 4.0
_NO_DETAIL = (
    "the hole has no texture from around it, as TensorFlow is not installed: pip "
    "install 'portrait-tf[default]'"
)
_VIEW_SHAPES = (0.4, 3.0)
"""Width over height, narrowest and widest, as multiples of the networks' frame.

More would leave most of the frame empty; a longer photo is looked at in parts.
"""


@dataclasses.dataclass(frozen=True)
class PhotoResult:
    """A completed photo.

    Attributes:
        completed: RGB `uint8` `[H, W, 3]`; outside the hole the photo, bit for bit.
        parsing: LIP labels, `uint8` `[H, W]`.
        notes: What the user ought to know, a sentence each.
        crops: What of the photo the networks saw, a box for each piece of work.
    """

    completed: np.ndarray
    parsing: np.ndarray
    notes: list[str] = dataclasses.field(default_factory=list)
    crops: list[Box] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Look:
    """One answer of the engine: the box that it saw, shrunk, and what it said."""

    box: Box
    painted: np.ndarray
    parsing: np.ndarray

    @property
    def magnification(self) -> float:
        rows, columns = self.painted.shape[:2]
        return max(self.box.height / rows, self.box.width / columns)

    def labels(self) -> np.ndarray:
        """The label map at the box' size, `uint8`."""
        return enlarge_labels(self.parsing, (self.box.height, self.box.width))


@dataclasses.dataclass(frozen=True)
class _Task:
    """Cells of the hole, the crop they are painted in, whether it shows a person."""

    cells: np.ndarray
    box: Box
    person: bool
    look: _Look | None = None


@dataclasses.dataclass(frozen=True)
class Given:
    """What the user says of the body: a label map, joints, both, or neither.

    Attributes:
        parsing: As of `complete_photo`.
        joints: As of `complete_photo`.
    """

    parsing: np.ndarray | None = None
    joints: np.ndarray | None = None

    def shrunk(self, box: Box, size: tuple[int, int]) -> "Given":
        """In a crop that is brought to a size."""
        parsing, joints = self.parsing, self.joints
        if parsing is not None:
            near = cv2.INTER_NEAREST_EXACT
            parsing = cv2.resize(box.of(parsing), size[::-1], interpolation=near)
        if joints is not None:
            joints = joints - np.array((box.left, box.top, 0), np.float32)
            joints = scale_joints(joints, (box.height, box.width), size)
        return Given(parsing, joints)

    def complete(
        self, engine: Engine, photo: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Asks the engine. Where a map is open, stage 1 draws it about the joints."""
        parsing, joints = self.parsing, self.joints
        # Stage 1 alone needs no signature for maps.
        if parsing is None or (parsing == VOID_LABEL).all():
            if joints is None:
                return engine.complete(photo, mask)
            return engine.complete(photo, mask, joints=joints)
        is_open = parsing == VOID_LABEL
        if joints is not None and is_open[mask != 0].any():
            drawn, _ = engine.parse(photo, mask, joints)
            parsing = np.where(is_open, drawn, parsing)
        return engine.complete(photo, mask, parsing)

    def parse(
        self, engine: Engine, photo: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Asks stage 1, which draws the map about the joints."""
        if self.joints is None:
            return engine.parse(photo, mask)
        return engine.parse(photo, mask, self.joints)

    def without_joints(self) -> "Given":
        return Given(self.parsing)


def complete_photo(
    engine: Engine,
    photo: np.ndarray,
    mask: np.ndarray,
    parsing: np.ndarray | None = None,
    joints: np.ndarray | None = None,
) -> PhotoResult:
    """Completes a photo of any size at its own resolution.

    A photo that fits into the working size is passed to the engine unchanged. Of a
    larger one, the engine is shown the whole, shrunk, for stage 1's map; then a crop
    about each person whom the hole touches, or about a hole without one. What an
    earlier crop has filled is known to the next. Memory grows with the photo's bytes
    and with the box about the hole, not with what the networks see.

    The idea to crop, to paint small and to paste the hole back at full size is that of
    tools such as IOPaint; people, groups and blending are our own choice.

    Args:
        engine: Anything with `complete(photo, mask)`.
        photo: RGB `uint8` `[H, W, 3]`.
        mask: `uint8` or `bool` `[H, W]`, non-zero = hole; it may touch the border.
        parsing: The user's own label map, `uint8` `[H, W]`: LIP's labels 0 to 19, and
            255 where stage 1 is to say. It is read in the hole alone, and brought to
            what the networks see by nearest neighbor.
        joints: The user's own joints, `[16, 3]`, as of `labels.check_joints`, in
            pixels of the photo. Of several people, they are those of the one whose crop
            shows most of them. A `parsing` goes before them.

    Returns:
        The photo completed, the label map, and notes.

    Raises:
        PortraitError: No photo, a mask that `as_hole_mask` refuses, a label map of
            another size or with other values.
    """
    photo = check_photo(photo)
    size = photo.shape[:2]
    mask = as_hole_mask(mask, size)
    if joints is not None:
        joints = check_joints(joints)
    own = None if parsing is None else _in_the_hole(parsing, mask)
    given = Given(own, joints)
    frame = frame_of(engine)
    if size[0] <= frame[0] and size[1] <= frame[1]:
        completed, labels = given.complete(engine, photo, mask)
        return PhotoResult(completed, labels, [], [Box(0, 0, *size)])
    return _complete_large(engine, photo, mask, given)


def _complete_large(
    engine: Engine, photo: np.ndarray, mask: np.ndarray, given: Given
) -> PhotoResult:
    """`complete_photo` of a photo that does not fit into the working size."""
    frame, own = frame_of(engine), given.parsing
    grid = _Grid.of_photo(mask.shape)
    parts = _Parts(engine, photo, mask, frame, grid, given)
    tasks = parts.tasks()
    posed = _posed_task(tasks, given.joints)
    owner = np.zeros(grid.cells, np.uint16)
    for index, task in enumerate(tasks):
        owner[task.cells] = index + 1
    parsing = parts.overview.labels()
    completed, unknown = photo.copy(), mask.copy()
    looks, fills = [], []
    wanted = getattr(engine, "detail", False)
    detailed = wanted and has_tensorflow()
    for index, task in enumerate(tasks):
        look = task.look
        # What was seen before knows nothing of what was filled since.
        if look is None or index:
            box = _with_something_known(task.box, unknown)
            told = given if index == posed else given.without_joints()
            look = _look(engine, completed, unknown, box, frame, told)
        looks.append(look)
        box, filled = _fill(completed, unknown, grid, owner, index + 1, look)
        if task.person:
            look.box.of(parsing)[:] = look.labels()
        fills.append((look, box, filled))
        box.of(unknown)[filled] = 0
    if own is not None:
        np.copyto(parsing, own, where=own != VOID_LABEL)
    notes = []
    soft = _add_detail(completed, mask, parsing, looks) if detailed else mask != 0
    for look, box, filled in fills:
        notes += _softness(look, box, filled & box.of(soft), detailed)
    if wanted and not detailed and max(look.magnification for look in looks) > 1:
        notes.append(_NO_DETAIL)
    return PhotoResult(completed, parsing, notes, [look.box for look in looks])


def check_photo(photo: np.ndarray) -> np.ndarray:
    """Raises PortraitError: not RGB `uint8` `[H, W, 3]`."""
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise PortraitError(
            "expected a photo of type uint8 and shape [height, width, 3], received "
            f"{photo.dtype} {list(photo.shape)}"
        )
    return photo


def frame_of(engine: Engine) -> tuple[int, int]:
    """Height and width at which an engine's networks work, as far as is known."""
    return tuple(getattr(engine, "working_size", None) or DEFAULT_WORKING_SIZE)


def _in_the_hole(parsing: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A user's map, `VOID_LABEL` outside the hole."""
    parsing = check_parsing_map(np.asarray(parsing), mask.shape)
    return np.where(mask != 0, parsing, np.uint8(VOID_LABEL))


def _posed_task(tasks: list[_Task], joints: np.ndarray | None) -> int:
    """The position of the first of the tasks whose crops show most of the joints."""
    if joints is None:
        return 0
    places = joints[joints[:, 2] > 0, :2]
    shown = [
        inside(
            places - (task.box.left, task.box.top), (task.box.height, task.box.width)
        )
        for task in tasks
    ]
    return int(np.argmax([one.sum() for one in shown]))


def _with_something_known(box: Box, unknown: np.ndarray) -> Box:
    """Widens a crop in the middle of a huge hole until it shows a known pixel."""
    while box.of(unknown).all():
        box = box.grown(box.height, box.width, unknown.shape)
    return box


def _look(
    engine: Engine,
    photo: np.ndarray,
    mask: np.ndarray,
    box: Box,
    frame: tuple[int, int],
    given: Given,
) -> _Look:
    """Shows the engine a crop, shrunk here, so that large pictures stay out of it."""
    small, hole = shrink(box.of(photo), box.of(mask), frame)
    told = given.shrunk(box, hole.shape)
    painted, parsing = told.complete(engine, small, hole)
    return _Look(box, painted, parsing)


def parse_photo(
    engine: Engine,
    photo: np.ndarray,
    mask: np.ndarray | None = None,
    joints: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Asks stage 1 for the body structure of a photo of any size.

    The engine sees the whole, shrunk; and, where the largest person in it would be seen
    larger alone, a crop about them, whose labels and joints are then the answer there.

    Args:
        engine: Anything with `parse(photo, mask)`.
        photo: RGB `uint8` `[H, W, 3]`.
        mask: `uint8` or `bool` `[H, W]`, non-zero = hole; None or all 0 for none.
        joints: The user's own, as of `complete_photo`.

    Returns:
        LIP's labels `uint8` `[H, W]`; the joints of the largest person `float32`
        `[16, 3]`, x and y in pixels and how sure the network is, or None.

    Raises:
        PortraitError: No photo, a mask of another size, or nothing but hole.
    """
    photo = check_photo(photo)
    size = photo.shape[:2]
    if mask is None or not np.any(mask):
        mask = np.zeros(size, np.uint8)
    else:
        mask = as_hole_mask(mask, size)
    frame = frame_of(engine)
    given = Given(joints=joints)
    if size[0] <= frame[0] and size[1] <= frame[1]:
        return given.parse(engine, photo, mask)
    whole = Box(0, 0, *size)
    look, found = _parse(engine, photo, mask, whole, frame, given)
    labels = look.labels()
    person = largest_person(look.parsing)
    if person is None:
        return labels, found
    box = person.scaled(look.parsing.shape, size)
    crop = _Crops(frame, size).about(box, _MARGIN)
    if crop.area >= _SAME * whole.area or crop.of(mask).all():
        return labels, found
    look, found = _parse(engine, photo, mask, crop, frame, given)
    crop.of(labels)[:] = look.labels()
    return labels, found


def _parse(
    engine: Engine,
    photo: np.ndarray,
    mask: np.ndarray,
    box: Box,
    frame: tuple[int, int],
    given: Given,
) -> tuple[_Look, np.ndarray | None]:
    """Stage 1 on a crop; joints in pixels of the photo."""
    small, hole = shrink(box.of(photo), box.of(mask), frame)
    labels, joints = given.shrunk(box, hole.shape).parse(engine, small, hole)
    if joints is not None:
        joints = scale_joints(joints, hole.shape, (box.height, box.width))
        joints += np.array((box.left, box.top, 0), np.float32)
    return _Look(box, small, labels), joints


def people_in(labels: np.ndarray) -> Iterator[tuple[np.ndarray, Box, int]]:
    """The people of a label map: where each is, `bool`, its box, and its pixels.

    Smaller parts of the foreground are ignored.
    """
    count, part_of, statistics, _ = cv2.connectedComponentsWithStats(
        (labels > 0).astype(np.uint8)
    )
    for number in range(1, count):
        left, top, width, height, area = (int(one) for one in statistics[number])
        if area >= _LEAST_PERSON * labels.size:
            box = Box(top, left, top + height, left + width)
            yield part_of == number, box, area


def largest_person(labels: np.ndarray) -> Box | None:
    """The box of the largest person in a label map; None where nobody is."""
    people = [(area, box) for _, box, area in people_in(labels)]
    return max(people, key=lambda person: person[0])[1] if people else None


def _fill(
    completed: np.ndarray,
    unknown: np.ndarray,
    grid: "_Grid",
    owner: np.ndarray,
    number: int,
    look: _Look,
) -> tuple[Box, np.ndarray]:
    """Paints one task's pixels, in place.

    Returns:
        A box, and which of its pixels were filled, `bool`.
    """
    margin = round(2 * max(_LEAST_BORDER, look.magnification))
    size = unknown.shape
    box = grid.box(owner == number).grown(margin, margin, size).common(look.box)
    hole = box.of(unknown) != 0
    filled = (grid.at_pixels(owner, box) == number) & hole
    rows, columns = look.painted.shape[:2]
    crop = look.box
    down = cubic_weights(rows, crop.height, box.top - crop.top, box.bottom - crop.top)
    across = cubic_weights(
        columns, crop.width, box.left - crop.left, box.right - crop.left
    )

    def painted(channel: int) -> np.ndarray:
        return down @ look.painted[..., channel].astype(np.float32) @ across.T

    result = blend(box.of(completed), hole, painted)
    np.copyto(box.of(completed), result, where=filled[..., None])
    return box, filled


def _add_detail(
    completed: np.ndarray, mask: np.ndarray, parsing: np.ndarray, looks: list[_Look]
) -> np.ndarray:
    """Gives what was painted the photo's own texture, in place.

    When all is painted: then no crop shows a part of the hole that is still open.

    Returns:
        `bool` `[H, W]`: the connected holes that stay as they were painted.
    """
    # A photo that fits into the working size needs no TensorFlow.
    load_tensorflow()
    from portrait_tf.inference.detail import detailed_hole, surroundings

    open_mask, changed = mask.copy(), np.zeros(mask.shape, bool)
    for look in looks:
        # Each part of the hole is done once, in the first crop that shows it.
        mine = look.box.of(open_mask) != 0
        if not mine.any():
            continue
        box = Box(*surroundings(mine, look.magnification).numpy().tolist())
        box = box.moved(look.box.top, look.box.left)
        detailed = detailed_hole(
            box.of(completed), box.of(mask), box.of(parsing), look.magnification
        )
        to_do = box.of(open_mask) != 0
        box.of(changed)[to_do] = (detailed != box.of(completed)).any(-1)[to_do]
        np.copyto(box.of(completed), detailed, where=to_do[..., None])
        box.of(open_mask)[:] = 0
    count, holes = cv2.connectedComponents((mask != 0).astype(np.uint8))
    stays = np.arange(count) > 0
    stays[holes[changed]] = False
    return stays[holes]


def _softness(look: _Look, box: Box, filled: np.ndarray, tried: bool) -> list[str]:
    """A note on a hole that is enlarged much, and not too thin for that to show."""
    times = look.magnification
    if times < SOFT_FROM:
        return []
    # Pixels of a hole that the frame cuts off have their distance beyond it.
    distance = cv2.distanceTransform(filled.astype(np.uint8), cv2.DIST_L2, 3)
    if distance.max() <= times:
        return []
    hole = Box.about(filled).moved(box.top, box.left)
    return [
        f"the hole in rows {hole.top} to {hole.bottom - 1}, columns "
        f"{hole.left} to {hole.right - 1} was painted "
        f"{times:.1f} times smaller, as the networks see {look.painted.shape[0]}x"
        f"{look.painted.shape[1]} pixels (height x width), and enlarged: its detail "
        "is soft" + (", as no texture from around it fits better" if tried else "")
    ]


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Cells that a photo is thought about in; `cells` and `size` as height, width."""

    size: tuple[int, int]
    cells: tuple[int, int]

    @classmethod
    def of_photo(cls, size: tuple[int, int]) -> "_Grid":
        return cls(size, shrunk_size(size, (_GRID, _GRID)))

    def _cell_of(self, axis: int, start: int, stop: int) -> np.ndarray:
        """The cells in which the middles of pixels lie."""
        middles = 2 * np.arange(start, stop, dtype=np.int64) + 1
        return middles * self.cells[axis] // (2 * self.size[axis])

    def at_pixels(self, values: np.ndarray, box: Box) -> np.ndarray:
        """A value a cell, brought to the pixels of a box."""
        rows = self._cell_of(0, box.top, box.bottom)
        return values[rows[:, None], self._cell_of(1, box.left, box.right)[None]]

    def box(self, cells: np.ndarray) -> Box:
        """The box about cells that are true, in pixels."""
        return Box.about(cells).scaled(self.cells, self.size)

    def inside(self, box: Box) -> np.ndarray:
        """Whether the middles of cells lie in a box, `bool` of the grid's shape."""
        rows, columns = (
            (np.arange(self.cells[axis]) + 0.5) * self.size[axis] / self.cells[axis]
            for axis in (0, 1)
        )
        return ((rows >= box.top) & (rows < box.bottom))[:, None] & (
            (columns >= box.left) & (columns < box.right)
        )[None]

    def sampled(self, values: np.ndarray, box: Box) -> np.ndarray:
        """Values over a box, brought to the cells by nearest; 0 outside the box."""
        places = []
        for axis, (start, length) in enumerate(
            ((box.top, box.height), (box.left, box.width))
        ):
            middle = (np.arange(self.cells[axis]) + 0.5) * (
                self.size[axis] / self.cells[axis]
            )
            at = np.floor((middle - start) * values.shape[axis] / length).astype(int)
            places.append(np.clip(at, 0, values.shape[axis] - 1))
        return np.where(
            self.inside(box), values[places[0][:, None], places[1][None]], 0
        )


class _Parts:
    """Which parts of the hole go together, and which crop each of them gets."""

    def __init__(
        self,
        engine: Engine,
        photo: np.ndarray,
        mask: np.ndarray,
        frame: tuple[int, int],
        grid: _Grid,
        given: Given,
    ) -> None:
        self.frame = frame
        self.grid = grid
        self.size = photo.shape[:2]
        self.hole = any_in_cells(mask, grid.cells)
        self._see = lambda box: _look(engine, photo, mask, box, frame, given)
        self._shows_nothing = lambda box: box.of(mask).all()
        whole = Box(0, 0, *self.size)
        self._looks = {whole: self._see(whole)}
        self.overview = self._looks[whole]

    def tasks(self) -> list[_Task]:
        """People first, each with all that touches them; then what is left."""
        cells_of: dict[tuple, np.ndarray] = {}
        boxes: dict[tuple, Box] = {}
        lone: list[tuple[np.ndarray, Box]] = []
        for piece in self._pieces():
            view = self._view(self.grid.box(piece))
            seen = self._times(view)
            people = self._people(view)
            # At the working size a person may end a pixel before the hole.
            near = self._widened(
                piece, max(_JOIN * max(view.height, view.width), 1.5 * seen)
            )
            touched = {
                number: (cells, box)
                for number, (cells, box) in people.items()
                if (cells & near).any()
            }
            if not touched:
                self._add_lone(lone, piece)
                continue
            for number, part in _nearest(piece, touched).items():
                if self._is_speck(part, touched[number][1]):
                    self._add_lone(lone, part)
                    continue
                key = (view, number)
                boxes[key] = touched[number][1]
                cells_of[key] = cells_of.get(key, False) | part
        tasks = []
        for key, cells in cells_of.items():
            box = boxes[key]
            own = self._reachable(cells, box)
            for part in _connected(cells & ~own):
                self._add_lone(lone, part)
            if own.any():
                tasks.append(self._person_task(key[0], own, box))
        tasks.sort(key=lambda task: -np.count_nonzero(task.cells))
        return tasks + [
            _Task(cells, self._crop(box, _ALONE), False) for cells, box in lone
        ]

    def _pieces(self) -> Iterator[np.ndarray]:
        """The hole in connected parts, none of them longer than half of a view."""
        cells = self._widened(self.hole, _JOIN * max(self.size) / 2)
        for part in _connected(cells):
            part = part & self.hole
            box = self.grid.box(part)
            view = self._view(box)
            counts = [
                -(-2 * length // full) if full < total else 1
                for length, full, total in zip(
                    (box.height, box.width), (view.height, view.width), self.size,
                    strict=True,
                )
            ]  # fmt: skip
            rows = np.linspace(box.top, box.bottom, counts[0] + 1).round().astype(int)
            columns = np.linspace(box.left, box.right, counts[1] + 1)
            columns = columns.round().astype(int)
            for top, bottom in itertools.pairwise(rows):
                for left, right in itertools.pairwise(columns):
                    piece = part & self.grid.inside(Box(top, left, bottom, right))
                    if piece.any():
                        yield piece

    def _view(self, box: Box) -> Box:
        """The region that stage 1 is shown to find the people near a box."""
        height, width = self.size
        shape = self.frame[1] / self.frame[0]
        lengths = (
            min(height, round(width / (shape * _VIEW_SHAPES[0]))),
            min(width, round(height * shape * _VIEW_SHAPES[1])),
        )
        return _placed(box, lengths, self.size)

    def _widened(self, cells: np.ndarray, pixels: float) -> np.ndarray:
        radius = max(1, round(pixels * max(self.grid.cells) / max(self.size)))
        square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        return cv2.dilate(cells.astype(np.uint8), square) > 0

    def _people(self, view: Box) -> dict[int, tuple[np.ndarray, Box]]:
        """Stage 1's foreground in parts: the cells and the box of each."""
        if self._shows_nothing(view):
            return {}
        if view not in self._looks:
            self._looks[view] = self._see(view)
        labels = self._looks[view].parsing
        people = {}
        for number, (part, box, _) in enumerate(people_in(labels)):
            box = box.scaled(labels.shape, (view.height, view.width))
            cells = self.grid.sampled(part, view) > 0
            if cells.any():
                people[number] = (cells, box.moved(view.top, view.left))
        return people

    def _is_speck(self, cells: np.ndarray, person: Box) -> bool:
        """Whether a hole would be next to nothing in a crop about the person."""
        hole = self.grid.box(cells)
        crop = self._crop(person.joined(hole), _MARGIN)
        return max(hole.height, hole.width) < _SPECK_SIDE * self._times(crop)

    def _reachable(self, cells: np.ndarray, person: Box) -> np.ndarray:
        """The cells that belong in the person's crop.

        All of them, unless the person would become much smaller in a crop about all;
        then those near the person.
        """
        both = person.joined(self.grid.box(cells))
        alone = self._crop(person, _MARGIN)
        if self._times(self._crop(both, _MARGIN)) <= _SMALLER * self._times(alone):
            return cells
        reach = round(max(person.height, person.width) / 2)
        return cells & self.grid.inside(person.grown(reach, reach, self.size))

    def _person_task(self, view: Box, cells: np.ndarray, person: Box) -> _Task:
        box = self._crop(person.joined(self.grid.box(cells)), _MARGIN)
        if view.joined(box) == view and box.area >= _SAME * view.area:
            return _Task(cells, view, True, self._looks[view])
        return _Task(cells, box, True)

    def _add_lone(self, lone: list[tuple[np.ndarray, Box]], part: np.ndarray) -> None:
        """Adds a part of the hole, in place, to those that need no person.

        Parts share a crop that shows them no smaller than their own, or well enough.
        """
        box = self.grid.box(part)
        for index, (cells, other) in enumerate(lone):
            both = box.joined(other)
            least = min(self._times(self._crop(one, _ALONE)) for one in (box, other))
            if self._times(self._crop(both, _ALONE)) <= max(least, SOFT_FROM):
                lone[index] = (cells | part, both)
                return
        lone.append((part, box))

    def _times(self, box: Box) -> float:
        """How often a crop is enlarged."""
        return max(
            1.0,
            *(n / m for n, m in zip((box.height, box.width), self.frame, strict=True)),
        )

    def _crop(self, box: Box, margin: float) -> Box:
        return _Crops(self.frame, self.size).about(box, margin)


class _Crops(NamedTuple):
    """Boxes of the shape of a frame, in a photo of a size."""

    frame: tuple[int, int]
    size: tuple[int, int]

    def about(self, box: Box, margin: float) -> Box:
        """A box with context, in the shape of the networks' frame, if there is room.

        Args:
            box: What it is about.
            margin: As a part of the box' longer side.
        """
        around = round(margin * max(box.height, box.width))
        box = box.grown(around, around, self.size)
        shape = self.frame[1] / self.frame[0]
        lengths = (
            max(box.height, round(box.width / shape), self.frame[0]),
            max(box.width, round(box.height * shape), self.frame[1]),
        )
        return _placed(box, lengths, self.size)


def _placed(box: Box, lengths: tuple[int, int], size: tuple[int, int]) -> Box:
    """A box of those lengths about the middle of another, moved into the photo."""
    edges = []
    for start, stop, length, total in zip(
        (box.top, box.left), (box.bottom, box.right), lengths, size, strict=True
    ):
        length = min(length, total)
        first = min(max(0, (start + stop - length) // 2), total - length)
        edges.append((first, first + length))
    (top, bottom), (left, right) = edges
    return Box(top, left, bottom, right)


def _connected(cells: np.ndarray) -> Iterator[np.ndarray]:
    # One at a time: of dust on a photo there may be thousands.
    count, part_of = cv2.connectedComponents(cells.astype(np.uint8))
    for number in range(1, count):
        yield part_of == number


def _nearest(
    piece: np.ndarray, people: dict[int, tuple[np.ndarray, Box]]
) -> dict[int, np.ndarray]:
    """Shares a hole out: to each person the cells that are nearest to them."""
    if len(people) == 1:
        return dict.fromkeys(people, piece)
    numbers = list(people)
    distances = [
        cv2.distanceTransform((~people[number][0]).astype(np.uint8), cv2.DIST_L2, 5)
        for number in numbers
    ]
    nearest = np.argmin(distances, axis=0)
    parts = {number: piece & (nearest == i) for i, number in enumerate(numbers)}
    return {number: part for number, part in parts.items() if part.any()}
