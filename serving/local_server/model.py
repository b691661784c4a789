"""One loaded version of a model, and the folder its versions lie in.

`MODELS_DIR/N/` is a SavedModel, N its version; folders with other names are ignored. It
is loaded into a `tf.compat.v1.Session` because TensorFlow Serving does so: a SavedModel
can load eagerly and still be broken there.
"""

import pathlib
import re
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow_serving.apis import predict_pb2

from portrait_tf.errors import PortraitError
from portrait_tf.startup import hidden_notices
from serving.local_server import tensors
from serving.local_server.batching import Run, Runner
from serving.local_server.metrics import Metrics
from serving.local_server.options import ServerOptions
from serving.local_server.request_error import (
    failed_precondition,
    invalid_argument,
    status_of,
)

DEFAULT_SIGNATURE = "serving_default"

# What fits an int64.
_VERSION = re.compile("0*[0-9]{1,18}")
_LOAD_ERRORS = (tf.errors.OpError, OSError, RuntimeError, ValueError, KeyError)


class Signature:
    """A named entry point of a model.

    Attributes:
        inputs, outputs: The dtype of each, by its public name, sorted.
        feeds, fetches: The name in the graph of each input, each output.
    """

    def __init__(self, name: str, definition: meta_graph_pb2.SignatureDef):
        self.name = name
        self.inputs = _dtypes(definition.inputs)
        self.outputs = _dtypes(definition.outputs)
        self.feeds = {alias: info.name for alias, info in definition.inputs.items()}
        self.fetches = {alias: info.name for alias, info in definition.outputs.items()}

    def check_inputs(self, names: Sequence[str]) -> None:
        """Checks that exactly the inputs are given; dtypes and shapes are the graph's.

        Raises:
            RequestError: INVALID_ARGUMENT, naming what is extra and what is missing.
        """
        sent, expected = set(names), set(self.inputs)
        if len(sent) != len(expected):
            raise invalid_argument(
                f"input size does not match signature: {len(sent)}!={len(expected)}"
                f" len({_braces(sent)}) != len({_braces(expected)})."
                f" Sent extra: {_braces(sent - expected)}."
                f" Missing but required: {_braces(expected - sent)}."
            )
        for alias in sorted(expected - sent):
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {self.feeds[alias]}) not"
                " found in request and no default value provided. Inputs expected to"
                f" be in the request {_braces(sent)}, or default input alias set: "
            )

    def select_outputs(self, names: Sequence[str]) -> list[str]:
        """The outputs to compute: those named, or all of them.

        Raises:
            RequestError: INVALID_ARGUMENT, for an unknown or a repeated name.
        """
        for index, name in enumerate(names):
            if name not in self.outputs:
                raise invalid_argument(
                    f"output tensor alias not found in signature: {name} Outputs"
                    f" expected to be in the set {_braces(self.outputs)}."
                )
            if name in names[:index]:
                raise invalid_argument(f"duplicate output tensor alias: {name}")
        return list(names) or list(self.outputs)


class LoadedModel:
    """A SavedModel in a Session, ready to run from any thread.

    `path` is the version folder, `MODELS_DIR/N`, and `version` is N. `signature_defs`
    are for metadata; `runner` may be set to what merges requests.

    Raises:
        RequestError: When the folder is not a SavedModel that loads.
    """

    def __init__(
        self,
        name: str,
        path: pathlib.Path,
        options: ServerOptions,
        config: tf.compat.v1.ConfigProto,
        metrics: Metrics,
    ):
        self.name = name
        self.path = path
        self.version = int(path.name)
        self.runner: Runner = self.run_session
        self._as_content = options.enable_serialization_as_tensor_content
        self._metrics = metrics
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        tags = options.saved_model_tags.split(",")
        begun, status = time.monotonic(), "fail"
        try:
            with self._graph.as_default(), hidden_notices():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, tags, str(path)
                )
            status = "success"
        except _LOAD_ERRORS as error:
            self._session.close()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise status_of(
                error,
                f"{path} cannot be loaded; expected a SavedModel with the tags {tags}:"
                f" {reason}",
            ) from error
        finally:
            took = int((time.monotonic() - begun) * 1e6)
            metrics.add("cc:saved_model:load_attempt_count", str(path), status)
            metrics.add("cc:saved_model:load_latency", str(path), value=took)
        self._session._extend_graph()
        self.signature_defs = dict(meta_graph.signature_def)
        self._signatures = {
            name: Signature(name, definition)
            for name, definition in self.signature_defs.items()
            # What initializes the model is listed among the signatures too.
            if definition.inputs
        }

    def signature(self, name: str) -> Signature | None:
        """The signature of that name, the default one for ""; None if there is none."""
        return self._signatures.get(name or DEFAULT_SIGNATURE)

    def predict(
        self, request: predict_pb2.PredictRequest, timeout: float | None = None
    ) -> predict_pb2.PredictResponse:
        """Answers a Predict request, as TensorFlow Serving's `RunPredict` does.

        Names are compared with the signature; dtypes and shapes are left to the graph.

        Raises:
            RequestError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT
                for names that do not fit it; as `run`.
        """
        spec = request.model_spec
        signature = self.signature(spec.signature_name)
        if signature is None:
            raise failed_precondition(
                f'Serving signature key "{spec.signature_name or DEFAULT_SIGNATURE}"'
                " not found."
            )
        signature.check_inputs(request.inputs)
        inputs = {
            name: tensors.decode(proto, name) for name, proto in request.inputs.items()
        }
        outputs = signature.select_outputs(request.output_filter)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = signature.name
        for name, array in self.run(Run(signature, inputs, outputs, timeout)).items():
            dtype = signature.outputs[name]
            proto = tensors.encode(array, dtype, as_content=self._as_content)
            response.outputs[name].CopyFrom(proto)
        return response

    def run(self, run: Run) -> dict[str, np.ndarray]:
        """Runs a signature, within a batch where there is batching.

        Raises:
            RequestError: With the Session's own status, when the run fails; as
                `Batching.run`, with batching.
        """
        begun = time.monotonic()
        results = self.runner(run)
        took = (time.monotonic() - begun) * 1e6
        labels = (self.name, "Predict", "TF1")
        self._metrics.add("serving:runtime_latency", *labels, value=took)
        return results

    def run_session(self, run: Run) -> dict[str, np.ndarray]:
        """As `run`, at once and by itself."""
        feeds = {
            self._output(run.signature.feeds[name]): array
            for name, array in run.inputs.items()
        }
        fetches = [self._output(run.signature.fetches[name]) for name in run.outputs]
        options = None
        if run.timeout is not None:
            # 0 would mean "no limit" to the Session.
            milliseconds = min(max(1, int(run.timeout * 1000)), 2**31)
            options = pywrap_tf_session.TF_NewBufferFromString(
                tf.compat.v1.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
            )
        begun = time.perf_counter()
        try:
            # Not `Session.run`: Python's casts what is fed, and compares its shape with
            # the placeholder's. TensorFlow Serving's, in C++, does neither.
            results = self._session._call_tf_sessionrun(
                options, feeds, fetches, [], None
            )
        except tf.errors.OpError as error:
            raise status_of(error) from error
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)
        took = (time.perf_counter() - begun) * 1e6
        self._metrics.add("core:graph_runs")
        self._metrics.add("core:graph_run_time_usecs", value=int(took))
        self._metrics.add("core:graph_run_time_usecs_histogram", value=took)
        return dict(zip(run.outputs, results, strict=True))

    def _output(self, name: str) -> object:
        return self._graph.get_tensor_by_name(name)._as_tf_output()

    def close(self) -> None:
        self._session.close()


def find_versions(models_dir: pathlib.Path) -> dict[int, pathlib.Path]:
    """The version folders of a model, by number; PortraitError if there is none."""
    expected = f"expected numbered versions, such as {models_dir}/1/saved_model.pb"
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


def _dtypes(infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, tf.DType]:
    return {alias: tf.as_dtype(info.dtype) for alias, info in sorted(infos.items())}


def _braces(names) -> str:  # noqa: ANN001
    return "{" + ",".join(sorted(names)) + "}"
