"""Reads a plain folder of photos and label maps, which its `dataset.yaml` explains."""

import difflib
import pathlib
from typing import Annotated

import pydantic
from pydantic import Field

from portrait_tf.config import Section, load_section
from portrait_tf.data.files import list_files
from portrait_tf.data.poses import read_poses
from portrait_tf.data.reader import SPLITS, PhotoFolder
from portrait_tf.errors import PortraitError
from portrait_tf.labels import LABELS, VOID_NAME
from portrait_tf.photos.label_maps import LabelTable

FILE = "dataset.yaml"

LAYOUT = """\
dataset.yaml                       every key is optional; the defaults are
    images: images                 folder of photos, NAME.jpg (or .jpeg, .png)
    labels: null                   folder of label maps, NAME.png
    map: null                      {value in a map: LIP's label name, or void}
    poses: null                    file of rows as LIP has them
    train: null                    file of one NAME a line, and val"""

Value = Annotated[int, Field(ge=0, le=65535)]


class FolderConfig(Section):
    """What `dataset.yaml` says; paths are relative to its folder."""

    images: str = Field("images", description="Folder of photos.")
    labels: str | None = Field(None, description="Folder of PNG label maps.")
    map: dict[Value, str] | None = Field(
        None,
        description="LIP's label name, or `void`, of each value in the maps. Without "
        "it the values are LIP's own.",
    )
    poses: str | None = Field(None, description="File of joints in LIP's form.")
    train: str | None = Field(None, description="List of the training photos' names.")
    val: str | None = Field(None, description="List of the validation photos' names.")

    @pydantic.field_validator("map")
    @classmethod
    def _known_labels(cls, names: dict[int, str] | None) -> dict[int, str] | None:
        valid = (*LABELS, VOID_NAME)
        for value, name in (names or {}).items():
            if name not in valid:
                lower = {one.lower(): one for one in valid}
                near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.4)
                hint = (
                    f"did you mean '{lower[near[0]]}'?"
                    if near
                    else f"expected one of {', '.join(valid)}"
                )
                raise ValueError(f"{value}: unknown label '{name}'; {hint}")
        return names


class FolderDataset(PhotoFolder):
    """One split of a plain folder with a `dataset.yaml`.

    Its arguments are those of `DatasetReader`. Where neither split has a list,
    `hash_split` puts about one photo in ten into `val`; where one has, the other is the
    rest. Samples are in the list's order, or by name.

    Raises:
        PortraitError: `dataset.yaml` does not fit `FolderConfig`, a file or folder that
            it names is missing, or there are no photos.
    """

    layout = "folder"
    expected = LAYOUT

    def _find_files(self) -> None:
        self._file = self.directory / FILE
        config = load_section(FolderConfig, self._file, "description of the data set")
        self._images = self._named("images", config.images)
        self._photos = list_files(self._images)
        if config.labels is not None:
            self._maps = list_files(self._named("labels", config.labels), (".png",))
        if config.map is not None:
            values = ", ".join(map(str, sorted(config.map)))
            self._table = LabelTable.from_names(
                config.map, f"a value of the map in {self._file} ({values})"
            )
        if config.poses is not None:
            self._poses = read_poses(self._named("poses", config.poses, folder=False))
        self._settings = (self._file,)
        lists = {name: getattr(config, name) for name in SPLITS}
        self._take_names(
            {
                name: path if path is None else self._named(name, path, folder=False)
                for name, path in lists.items()
            }
        )

    def _named(self, key: str, path: str, folder: bool = True) -> pathlib.Path:
        found = self.directory / path
        if not (found.is_dir() if folder else found.is_file()):
            raise PortraitError(
                f"{self._file}: '{key}': expected a {'folder' if folder else 'file'}, "
                f"found none at {found}"
            )
        return found

    @classmethod
    def detects(cls, directory: pathlib.Path) -> bool:
        return (directory / FILE).is_file()
