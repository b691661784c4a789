"""Reads the *Look into Person* data set (LIP, arXiv 1703.05446) and what looks like it.

`LAYOUT` shows the expected files. The pose files have no header; a row is
`name.jpg,x1,y1,v1,...,x16,y16,v16` with x the column, `nan` where a joint is not
annotated, and v 1 for a hidden joint. Annotations are in pixels of the photo as it is
stored, so an EXIF orientation is not applied.
"""

import pathlib

from portrait_tf.data.files import list_files, read_names, unwrap
from portrait_tf.data.poses import read_poses
from portrait_tf.data.reader import SPLITS, NoSplitError, PhotoFolder

LAYOUT = """\
TrainVal_images/
    train_images/NAME.jpg          (or .jpeg, .png), and val_images/
    train_id.txt, val_id.txt       (optional: one NAME a line)
TrainVal_parsing_annotations/      (optional)
    train_segmentations/NAME.png   labels 0 to 19, and val_segmentations/
TrainVal_pose_annotations/         (optional)
    lip_train_set.csv, lip_val_set.csv"""


def _find(root: pathlib.Path, parent: str, name: str) -> pathlib.Path | None:
    for base in (unwrap(root / parent), root):
        if (base / name).exists():
            return base / name
    return None


class LipFolders:
    """Where one split of LIP's layout is written.

    Attributes:
        photos, maps: Folders.
        names, poses: Files: a name a line, and a pose a line.
    """

    def __init__(self, root: pathlib.Path, split: str) -> None:
        self.photos = root / "TrainVal_images" / f"{split}_images"
        self.maps = root / "TrainVal_parsing_annotations" / f"{split}_segmentations"
        self.names = self.photos.with_name(f"{split}_id.txt")
        self.poses = root / "TrainVal_pose_annotations" / f"lip_{split}_set.csv"
        for folder in (self.photos, self.maps, self.poses.parent):
            folder.mkdir(parents=True, exist_ok=True)


class LipDataset(PhotoFolder):
    """One split of LIP on disk; its arguments are those of `DatasetReader`.

    Folders that an archive has doubled (`TrainVal_images/TrainVal_images`) are found,
    and so are split folders directly inside the directory. Samples are in the order of
    the id file, or by name.

    Raises:
        PortraitError: The directory has no photos of the split, or a file of names or
            poses cannot be read.

    Example:

    ```python
    dataset = LipDataset("LIP", "val")
    sample = dataset[0]
    print(sample.name, sample.photo.shape)
    ```
    """

    layout = "lip"
    expected = LAYOUT

    def _find_files(self) -> None:
        images = _find(self.directory, "TrainVal_images", f"{self.split}_images")
        if images is None or not images.is_dir():
            raise NoSplitError(
                f"{self.directory}: no folder {self.split}_images; expected\n{LAYOUT}"
            )
        self._images = unwrap(images)
        self._photos = list_files(self._images)
        maps, poses, names = (
            _find(self.directory, f"TrainVal_{parent}", name)
            for parent, name in (
                ("parsing_annotations", f"{self.split}_segmentations"),
                ("pose_annotations", f"lip_{self.split}_set.csv"),
                ("images", f"{self.split}_id.txt"),
            )
        )
        if maps is not None:
            self._maps = list_files(unwrap(maps), (".png",))
        if poses is not None:
            self._poses = read_poses(poses)
        self._list = names
        self.names = read_names(self._list) if self._list else tuple(self._photos)
        if not self.names:
            self._refuse_without_photos()

    @classmethod
    def detects(cls, directory: pathlib.Path) -> bool:
        return any(
            _find(directory, "TrainVal_images", f"{split}_images") for split in SPLITS
        )
