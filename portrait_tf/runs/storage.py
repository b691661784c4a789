"""Arrays on disk: one file format for checkpoints and for bundled weights.

A file is a NumPy `.npz`: each variable is an array named `group/variable path`, and a
JSON text has classes and configs of the networks. It holds no code, and any backend of
Keras reads it.
"""

import contextlib
import io
import json
import pathlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result

_META = "meta.json"

# NumPy's, zipfile's and zlib's for a file with wrong bytes.
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile,
    zlib.error, tokenize.TokenError,
)  # fmt: skip


def save_arrays(
    path: str | pathlib.Path,
    groups: dict[str, list],
    meta: dict,
    dtype: str | None = None,
) -> None:
    """Writes groups of variables, whole or not at all.

    Args:
        path: The file; its folder is made.
        groups: Keras variables, by the name of their group.
        meta: Anything JSON can hold.
        dtype: Floating-point arrays are stored so (`float16` for weights that are to
            be small); None keeps theirs.

    Raises:
        PortraitError: A number is not finite; nothing is written.
    """
    arrays = {
        f"{group}/{name}": _to_numpy(variable, dtype)
        for group, variables in groups.items()
        for name, variable in by_path(variables).items()
    }
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise PortraitError(
                f"{path} is not written: expected finite numbers, {name!r} has others"
            )
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    save = np.savez_compressed if dtype else np.savez
    save(buffer, **{_META: text}, **arrays)
    write_result(path, buffer.getvalue())


def _to_numpy(variable: object, dtype: str | None) -> np.ndarray:
    # Keras is not needed to read.
    from portrait_tf.compat import ops

    array = ops.convert_to_numpy(variable)
    return array.astype(dtype) if dtype and array.dtype.kind == "f" else array


def by_path(variables: list) -> dict[str, object]:
    """Variables by path; a repeated path is marked."""
    from portrait_tf.compat import variable_path

    named = {}
    for variable in variables:
        name = variable_path(variable)
        # Optimizers and trainers put counters into their names ("adam_1").
        while name in named:
            name += "'"
        named[name] = variable
    return named


def read_arrays(path: str | pathlib.Path) -> tuple[dict[str, np.ndarray], dict]:
    """Reads a file of `save_arrays`.

    Returns:
        Arrays by `group/variable path`, and the JSON value.

    Raises:
        PortraitError: The file is missing, damaged, or of another kind.
    """
    with _opened(path) as file:
        arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop(_META).tobytes())
    return arrays, meta


def read_meta(path: str | pathlib.Path) -> dict:
    """The JSON value of a file of `save_arrays` alone.

    Raises:
        PortraitError: As `read_arrays`.
    """
    with _opened(path) as file:
        return json.loads(file[_META].tobytes())


@contextlib.contextmanager
def _opened(path: str | pathlib.Path) -> Iterator[np.lib.npyio.NpzFile]:
    path = pathlib.Path(path)
    if not path.is_file():
        raise PortraitError(f"no such weights file: {path}")
    try:
        # From memory: NumPy leaves a damaged file open.
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as file:
            yield file
    except _DAMAGED:
        raise PortraitError(
            f"{path} is damaged or is no weights file of portrait-tf (a .npz with "
            f"{_META} in it was expected)"
        ) from None


def assign_arrays(
    variables: list, arrays: dict[str, np.ndarray], group: str, source: object
) -> None:
    """Sets variables from one group; nothing is set unless all of it fits.

    Raises:
        PortraitError: An array is missing, left over, or of another shape.
    """
    named = by_path(variables)
    prefix = f"{group}/"
    found = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    problem = None
    if missing := [name for name in named if name not in found]:
        problem = f"it has no {missing[0]!r}"
    elif extra := [name for name in found if name not in named]:
        problem = f"it holds {extra[0]!r}, which this network has not"
    else:
        for name, variable in named.items():
            if tuple(variable.shape) != found[name].shape:
                problem = (
                    f"{name!r} is {found[name].shape} in the file and "
                    f"{tuple(variable.shape)} in this network"
                )
                break
    if problem:
        raise PortraitError(f"{source} fits another architecture ({group}): {problem}")
    for name, variable in named.items():
        variable.assign(found[name])


def copy_arrays(source: list, target: list) -> list[str]:
    """Sets variables from others of the same path and shape.

    Returns:
        Paths of the target's variables that the source does not have in that shape.
    """
    given, left = by_path(source), []
    for name, variable in by_path(target).items():
        if name in given and given[name].shape == variable.shape:
            variable.assign(given[name])
        else:
            left.append(name)
    return left
