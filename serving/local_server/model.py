"""One loaded version of a model, and the folder its versions lie in.

Conventions: `MODELS_DIR/N/` is a SavedModel, N its version; folders with other names
are ignored, so that a publisher can write to one and rename it. The model is loaded
into a `tf.compat.v1.Session` because TensorFlow Serving does so: a SavedModel can load
eagerly and still be broken there.
"""

import dataclasses
import pathlib
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import tensorflow as tf

from portrait_tf.errors import PortraitError
from portrait_tf.startup import hidden_notices
from serving.local_server.batching import Batcher
from serving.local_server.metrics import Metrics
from serving.local_server.request_error import from_tensorflow, invalid_argument
from serving.local_server.run_gate import RunGate

DEFAULT_SIGNATURE = "serving_default"

# What fits an int64.
_VERSION = re.compile("0*[0-9]{1,18}")
_LOAD_ERRORS = (tf.errors.OpError, OSError, RuntimeError, ValueError, KeyError)


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """What a signature says of one tensor.

    Attributes:
        tensor_name: Its name in the graph, such as `serving_default_image:0`.
        dtype: Its dtype.
        shape: Its sizes, None where any is allowed; None for any rank.
    """

    tensor_name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    def accepts(self, shape: Sequence[int]) -> bool:
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            allowed is None or allowed == size
            for allowed, size in zip(self.shape, shape, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Signature:
    """A named entry point: inputs and outputs by their public names."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def check_names(self, names: Sequence[str]) -> None:
        """Checks that exactly the inputs are given.

        Raises:
            RequestError: INVALID_ARGUMENT, naming what is extra and what is missing.
        """
        sent, expected = set(names), set(self.inputs)
        if sent == expected:
            return
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)}"
            f" len({_braces(sent)}) != len({_braces(expected)})."
            f" Sent extra: {_braces(sent - expected)}."
            f" Missing but required: {_braces(expected - sent)}."
            if len(sent) != len(expected)
            else "Inputs contains invalid name. Used request inputs: "
            f"{','.join(sorted(sent & expected))}, request input: "
            f"{','.join(sorted(sent))}, expected: {','.join(sorted(expected))}"
        )

    def check_input(
        self, name: str, dtype: tf.DType | None, shape: Sequence[int]
    ) -> None:
        """Checks one input before its content is read.

        Raises:
            RequestError: INVALID_ARGUMENT, with what was received and expected.
        """
        spec = self.inputs[name]
        if dtype != spec.dtype:
            received = dtype.name if dtype is not None else "an unknown dtype"
            raise invalid_argument(
                f"input {name!r} expects to be {spec.dtype.name} but {received} is"
                " provided"
            )
        if not spec.accepts(shape):
            expected = ",".join(
                "?" if size is None else str(size) for size in spec.shape
            )
            raise invalid_argument(
                f"input {name!r} has shape [{','.join(map(str, shape))}], expected"
                f" [{expected}]"
            )

    def select_outputs(self, names: Sequence[str]) -> list[str]:
        """The outputs to compute: those named, or all of them.

        Raises:
            RequestError: INVALID_ARGUMENT, for an unknown or a repeated name.
        """
        for name in names:
            if name not in self.outputs:
                raise invalid_argument(
                    f"output tensor alias not found in signature: {name} Outputs"
                    f" expected to be in the set {_braces(self.outputs)}."
                )
        if len(set(names)) != len(names):
            raise invalid_argument(
                f"duplicate output tensor alias: {','.join(sorted(names))}"
            )
        return list(names) or list(self.outputs)


class LoadedModel:
    """A SavedModel in a Session, ready to run from any thread.

    Args:
        path: The version folder, `MODELS_DIR/N`.
        tags: The tags of the graph in it.
        config: How the Session runs; None for TensorFlow's defaults.
        metrics: Where runs are noted.

    Attributes:
        path: That folder.
        version: N.
        signature_defs: The signatures as the file has them, for metadata.
        batcher: Merges the requests that `run` gets; None, and each runs by itself.
        gate: Where runs wait while another version loads; None, and they do not.

    Raises:
        PortraitError: When the folder is not a SavedModel that loads.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        *,
        tags: Sequence[str] = (tf.saved_model.SERVING,),
        config: tf.compat.v1.ConfigProto | None = None,
        metrics: Metrics | None = None,
    ):
        self.path = pathlib.Path(path)
        self.version = int(self.path.name)
        self.batcher: Batcher | None = None
        self.gate: RunGate | None = None
        self._metrics = metrics or Metrics()
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default(), hidden_notices():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, list(tags), str(self.path)
                )
        except _LOAD_ERRORS as error:
            self._session.close()
            shown = ", ".join(repr(tag) for tag in tags)
            raise PortraitError(
                f"{self.path} cannot be loaded; expected a SavedModel with the tag"
                f" {shown}: {_first_line(error)}"
            ) from error
        self.signature_defs = dict(meta_graph.signature_def)
        self._signatures = {
            name: _read_signature(name, definition)
            for name, definition in self.signature_defs.items()
            # What initialises the model is listed among the signatures too.
            if definition.inputs
        }

    def signature(self, name: str) -> Signature | None:
        """The signature of that name, the default one for ""; None if there is none."""
        return self._signatures.get(name or DEFAULT_SIGNATURE)

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs checked inputs, within a batch where there is batching.

        Args:
            signature: One of this model's.
            inputs: Arrays of the dtypes and shapes that the signature accepts.
            outputs: Names of the outputs to compute.
            timeout: Seconds after which the run is abandoned; None for never.

        Raises:
            RequestError: With the Session's own status, when the run fails; as
                `Batcher.run`, with batching.
        """
        if self.batcher is not None:
            return self.batcher.run(signature, inputs, outputs, timeout)
        return self.run_session(signature, inputs, outputs, timeout)

    def run_session(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """As `run`, by itself, and at once but for the gate."""
        fetches = {name: signature.outputs[name].tensor_name for name in outputs}
        feeds = {
            signature.inputs[name].tensor_name: array for name, array in inputs.items()
        }
        turn = self.gate.running(timeout) if self.gate else nullcontext(timeout)
        with turn as left:
            options = None
            if left is not None:
                # 0 would mean "no limit" to the Session.
                milliseconds = min(max(1, int(left * 1000)), 2**31)
                options = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)
            start = time.perf_counter()
            try:
                results = self._session.run(fetches, feeds, options=options)
            except tf.errors.OpError as error:
                raise from_tensorflow(error) from error
            self._metrics.record_graph_run(time.perf_counter() - start)
        return results

    def close(self) -> None:
        if self.batcher is not None:
            self.batcher.close()
        self._session.close()


def find_versions(models_dir: str | pathlib.Path) -> dict[int, pathlib.Path]:
    """The version folders of a model, by number.

    Raises:
        PortraitError: When the folder is missing or holds no version.
    """
    models_dir = pathlib.Path(models_dir)
    expected = (
        "expected a folder of numbered versions, such as"
        f" {models_dir / '1' / 'saved_model.pb'}"
    )
    if not models_dir.is_dir():
        raise PortraitError(
            f"the models folder {models_dir} does not exist; {expected}"
        )
    if (models_dir / "saved_model.pb").exists():
        raise PortraitError(
            f"{models_dir} is one version of a model; expected the folder above it"
        )
    versions = {
        int(path.name): path
        for path in models_dir.iterdir()
        if _VERSION.fullmatch(path.name) and path.is_dir()
    }
    if not versions:
        raise PortraitError(f"the models folder {models_dir} is empty; {expected}")
    return versions


def _read_signature(name: str, definition) -> Signature:  # noqa: ANN001
    return Signature(
        name,
        {
            alias: _read_tensor(info)
            for alias, info in sorted(definition.inputs.items())
        },
        {
            alias: _read_tensor(info)
            for alias, info in sorted(definition.outputs.items())
        },
    )


def _read_tensor(info) -> TensorSpec:  # noqa: ANN001
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(
            None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim
        )
    return TensorSpec(info.name, tf.as_dtype(info.dtype), shape)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _braces(names) -> str:  # noqa: ANN001
    return "{" + ",".join(sorted(names)) + "}"
