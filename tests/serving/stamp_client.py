"""A client of the model `Stamp`."""

import numpy as np
import tensorflow as tf
from grpc_calls import make_request
from processes import wait_until
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)


class StampClient:
    """Asks a server that serves `Stamp`."""

    def __init__(self, channel, name="stamp"):
        self.name = name
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def request(self, signature="", **options):
        return make_request(self.name, signature, **options)

    def stamp(self, x, **options):
        """The answer's version, and its outputs as arrays."""
        request = self.request(x=np.asarray(x, np.float32), **options)
        response = self.prediction.Predict(request, timeout=30)
        outputs = {k: tf.make_ndarray(v) for k, v in response.outputs.items()}
        return response.model_spec.version.value, outputs

    def version(self, **options):
        return self.stamp([[1.0]], **options)[0]

    def wait(self, seconds, timeout=30):
        """A future, of a request that takes so long."""
        request = self.request("wait", seconds=np.array([seconds]))
        return self.prediction.Predict.future(request, timeout=timeout)

    def states(self, version=None):
        """Of each version, the name of its state and its error."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.name
        if version is not None:
            request.model_spec.version.value = version
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {
            entry.version: (name(entry.state), entry.status.error_message)
            for entry in self.models.GetModelStatus(request).model_version_status
        }

    def wait_for(self, **states):
        """Waits for states: `wait_for(v1="END", v2="AVAILABLE")`."""

        def are_there():
            found = self.states()
            return all(
                found.get(int(key[1:]), "?")[0] == state
                for key, state in states.items()
            )

        wait_until(are_there)
