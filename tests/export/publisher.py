"""A process that publishes, labels and prunes copies of a version until it is killed.

Run as `python publisher.py VERSION_FOLDER MODELS_FOLDER [COUNT]`.
"""

import pathlib
import shutil
import sys

from export import publishing
from portrait_tf.errors import PortraitError


def main(source: pathlib.Path, directory: pathlib.Path, count: int) -> None:
    print("started", flush=True)
    for index in range(count):
        label = (None, "canary", "stable")[index % 3]
        with publishing.new_version(directory, label) as version:
            # As an export does: one file after the other.
            for path in sorted(source.rglob("*")):
                target = version.folder / path.relative_to(source)
                if path.is_dir():
                    target.mkdir()
                else:
                    shutil.copy(path, target)
            number = int(version.publish().name)
        publishing.promote(directory, number, "canary")
        publishing.prune(directory, 2)
        try:
            publishing.rollback(directory, "canary")
        except PortraitError as error:
            assert "before" in str(error), error


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:3]), int((*sys.argv, 10**6)[3]))
