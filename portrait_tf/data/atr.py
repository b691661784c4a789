"""Reads ATR (*Deep Human Parsing with Active Template Regression*, arXiv 1503.02391).

Its 18 labels become LIP's by `portrait_tf.labels.ATR_TO_LIP`. It has no poses.
"""

import pathlib

from portrait_tf.data.files import list_files, unwrap
from portrait_tf.data.reader import SPLITS, PhotoFolder
from portrait_tf.errors import PortraitError
from portrait_tf.labels import ATR_TO_LIP
from portrait_tf.photos.label_maps import LabelTable

LAYOUT = """\
humanparsing/                      (or its content)
    JPEGImages/NAME.jpg
    SegmentationClassAug/NAME.png  labels 0 to 17
    train_id.txt, val_id.txt       (optional: one NAME a line)"""

_TABLE = LabelTable.from_names(
    dict(enumerate(ATR_TO_LIP.values())), f"ATR's labels 0 to {len(ATR_TO_LIP) - 1}"
)


def _find(directory: pathlib.Path) -> pathlib.Path:
    inner = unwrap(directory / "humanparsing")
    return inner if inner.is_dir() else directory


class AtrDataset(PhotoFolder):
    """One split of ATR on disk; its arguments are those of `DatasetReader`.

    ATR comes without a split. `train_id.txt` and `val_id.txt` are used where they are;
    else `hash_split` puts about one photo in ten into `val`. Samples are in the list's
    order, or by name.

    Raises:
        PortraitError: A folder is missing or empty, or a list cannot be read.
    """

    layout = "atr"
    expected = LAYOUT

    def _find_files(self) -> None:
        root = _find(self.directory)
        for name in ("JPEGImages", "SegmentationClassAug"):
            if not (root / name).is_dir():
                raise PortraitError(f"{root}: no folder {name}; expected\n{LAYOUT}")
        self._images = unwrap(root / "JPEGImages")
        self._photos = list_files(self._images)
        self._maps = list_files(unwrap(root / "SegmentationClassAug"), (".png",))
        self._table = _TABLE
        lists = {split: root / f"{split}_id.txt" for split in SPLITS}
        self._take_names(
            {split: path if path.exists() else None for split, path in lists.items()}
        )

    @classmethod
    def detects(cls, directory: pathlib.Path) -> bool:
        return (_find(directory) / "JPEGImages").is_dir()
