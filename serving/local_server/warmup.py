"""Replays the requests that come with a model, so that the first user does not wait.

TensorFlow Serving's conventions: `N/assets.extra/tf_serving_warmup_requests` is a
TFRecord of `PredictionLog`, at most 1000 of them; one that fails makes the version
fail to load. Only Predict logs are known here.
"""

import logging
import time

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.local_server.metrics import Metrics
from serving.local_server.model import LoadedModel
from serving.local_server.request_error import (
    RequestError,
    invalid_argument,
    status_of,
    unimplemented,
)

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000
_LOGGER = logging.getLogger(__name__)


def warm_up(model: LoadedModel, metrics: Metrics, iterations: int) -> None:
    """Replays each warm-up request so often, and notes how long all took.

    RequestError for a file that cannot be read, or a request that fails.
    """
    path, begun, status = model.path / WARMUP_FILE, time.monotonic(), "OK"
    if not path.exists():
        _LOGGER.info("No warmup data file found at %s", path)
        return
    try:
        count = _replay(model, iterations)
    except RequestError as error:
        status = str(error)
        raise
    finally:
        took = (time.monotonic() - begun) * 1e6
        labels = (str(model.path), status)
        metrics.add("serving:model_warmup_latency", *labels, value=took)
    message = "Finished reading warmup data for model at %s. Number of warmup records"
    message += " read: %d. Elapsed time (microseconds): %d."
    _LOGGER.info(message, path, count, took)


def _replay(model: LoadedModel, iterations: int) -> int:
    path, count = model.path / WARMUP_FILE, 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            if count == MAX_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS})"
                )
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if (kind := log.WhichOneof("log_type")) != "predict_log":
                raise unimplemented(f"it is a {kind}; expected a predict_log")
            for _ in range(iterations):
                model.predict(log.predict_log.request)
            count += 1
    except RequestError as error:
        message = f"record {count} of {path} fails ({error})"
        raise RequestError(error.code, message) from error
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record from {path}") from error
    except tf.errors.OpError as error:
        message = f"{error}. Please verify your warmup data is in TFRecord format:"
        raise status_of(error, f"{message} {path}") from error
    return count
