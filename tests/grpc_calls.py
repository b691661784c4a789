"""Requests of Predict by hand, and what is refused of them."""

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2


def make_request(model, signature="", version=None, label=None, outputs=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for name, value in inputs.items():
        if not isinstance(value, tensor_pb2.TensorProto):
            value = tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(value)
    return request


def make_tensor(dtype, shape, **fields):
    """A tensor by its fields, whether they fit or not."""
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def tensorflows_content(strings):
    """Strings as `Tensor::AsProtoTensorContent` writes them, in a dataset's graph."""
    dataset = tf.data.Dataset.from_tensors(tf.constant(strings))
    graph = tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor)
    (proto,) = [
        node.attr["value"].tensor
        for node in tf.compat.v1.GraphDef.FromString(graph.numpy()).node
        if node.attr["value"].tensor.tensor_content
    ]
    assert proto.dtype == tf.string.as_datatype_enum and not proto.string_val
    return proto


def refused(call, *arguments):
    """The status that a call ends with, and its message."""
    try:
        call(*arguments)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("the server answered; expected a refusal")


def write_warm_up(version, *requests):
    """Writes the warm-up file of a version's folder; gives its path."""
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
    return path
