"""Replays the requests that come with a model, so that the first user does not wait.

Conventions (TensorFlow Serving's): `N/assets.extra/tf_serving_warmup_requests` is a
TFRecord of `PredictionLog`, at most 1000 of them; one that fails makes the version
fail to load. Only Predict logs are known here.
"""

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from portrait_tf.errors import PortraitError
from serving.local_server.metrics import Metrics
from serving.local_server.model import LoadedModel
from serving.local_server.predict import predict
from serving.local_server.request_error import RequestError

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000


def replay(model: LoadedModel, metrics: Metrics, iterations: int = 1) -> int:
    """Runs each warm-up request of a model, if it has any, so often; says how many.

    Raises:
        PortraitError: When the file cannot be read, holds too many records, or one of
            them fails.
    """
    path = model.path / WARMUP_FILE
    if not path.exists():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            if count == MAX_RECORDS:
                raise PortraitError(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at"
                    f" {path}"
                )
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                raise PortraitError(
                    f"record {count} of {path} is a {log.WhichOneof('log_type')};"
                    " expected a predict_log"
                )
            for _ in range(iterations):
                predict(model, log.predict_log.request, metrics=metrics)
            count += 1
    except (tf.errors.OpError, DecodeError) as error:
        raise PortraitError(
            f"{error}. Please verify your warmup data is in TFRecord format: {path}"
        ) from error
    except RequestError as error:
        raise PortraitError(
            f"record {count} of {path} fails ({error.code.name}): {error.message}"
        ) from error
    return count
