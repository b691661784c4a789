"""TensorFlow Serving's messages, imported late: they come with TensorFlow."""

import functools
from types import SimpleNamespace


@functools.cache
def import_protocol() -> SimpleNamespace:
    """The messages, stubs and conversions that a client needs; takes seconds once."""
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2, types_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    return SimpleNamespace(
        DT_FLOAT=types_pb2.DT_FLOAT,
        DT_STRING=types_pb2.DT_STRING,
        DT_UINT8=types_pb2.DT_UINT8,
        GetModelMetadataRequest=get_model_metadata_pb2.GetModelMetadataRequest,
        GetModelStatusRequest=get_model_status_pb2.GetModelStatusRequest,
        ModelServiceStub=model_service_pb2_grpc.ModelServiceStub,
        ModelSpec=model_pb2.ModelSpec,
        ModelVersionStatus=get_model_status_pb2.ModelVersionStatus,
        PredictRequest=predict_pb2.PredictRequest,
        PredictionServiceStub=prediction_service_pb2_grpc.PredictionServiceStub,
        SignatureDefMap=get_model_metadata_pb2.SignatureDefMap,
        TensorProto=tensor_pb2.TensorProto,
        as_dtype=tf.as_dtype,
        make_ndarray=tf.make_ndarray,
    )
