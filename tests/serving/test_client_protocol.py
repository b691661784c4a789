"""The client's own messages, against TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf
from grpc_calls import tensorflows_content
from serving_photos import make_photo
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from serving.client.protocol import (
    DTYPES,
    MESSAGES,
    STATES,
    decode_tensor,
    encode_tensor,
)

THEIRS = (
    *(tensor_pb2.TensorProto, tensor_shape_pb2.TensorShapeProto),
    *(meta_graph_pb2.TensorInfo, meta_graph_pb2.SignatureDef),
    *(get_model_metadata_pb2.SignatureDefMap, model_pb2.ModelSpec),
    *(predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    get_model_metadata_pb2.GetModelMetadataRequest,
    get_model_metadata_pb2.GetModelMetadataResponse,
    get_model_status_pb2.GetModelStatusRequest,
    get_model_status_pb2.GetModelStatusResponse,
    get_model_status_pb2.ModelVersionStatus,
)
STRINGS = [b"first", b"", b"x" * 200, bytes(range(256)) * 80, "ü".encode()]


def ours(proto):
    return MESSAGES["TensorProto"].FromString(proto.SerializeToString())


def test_each_field_is_theirs():
    theirs = {kind.DESCRIPTOR.name: kind.DESCRIPTOR for kind in THEIRS}
    status = get_model_status_pb2.ModelVersionStatus.DESCRIPTOR.fields_by_name["status"]
    theirs["StatusProto"] = status.message_type
    theirs["Dim"] = tensor_shape_pb2.TensorShapeProto.Dim.DESCRIPTOR
    spec = model_pb2.ModelSpec.DESCRIPTOR.fields_by_name["version"]
    theirs["Int64Value"] = spec.message_type
    metadata = get_model_metadata_pb2.GetModelMetadataResponse.DESCRIPTOR
    entry = metadata.fields_by_name["metadata"].message_type
    theirs["Any"] = entry.fields_by_name["value"].message_type
    assert theirs.keys() == MESSAGES.keys()
    for name, message in MESSAGES.items():
        check_fields(message.DESCRIPTOR, theirs[name])


def check_fields(mine, its):
    for field in mine.fields:
        other = its.fields_by_name[field.name]
        same_type = field.type == other.type
        is_enumeration = (field.type, other.type) == (field.TYPE_INT32, field.TYPE_ENUM)
        is_packed = field.type == field.TYPE_BYTES and other.GetOptions().packed
        assert field.number == other.number
        assert same_type or is_enumeration or is_packed
        # A list has a default of its own.
        assert is_packed or (field.default_value == []) == (other.default_value == [])
        if same_type and field.type == field.TYPE_MESSAGE:
            assert field.message_type.name == other.message_type.name
            is_map = field.message_type.GetOptions().map_entry
            assert is_map == other.message_type.GetOptions().map_entry
            if is_map:
                check_fields(field.message_type, other.message_type)


def test_names_are_theirs():
    assert {value: tf.as_dtype(value).name for value in DTYPES} == {
        **DTYPES, 19: "float16"
    }  # fmt: skip
    states = get_model_status_pb2.ModelVersionStatus.State
    assert {number: name for name, number in states.items()} == STATES


def test_requests_are_read_by_tensorflow():
    image, _ = make_photo(5, 4, 2)
    for value in (image, np.float32([[0.5, 1], [2, 3]]), STRINGS):
        proto = tensor_pb2.TensorProto.FromString(
            encode_tensor(value).SerializeToString()
        )
        np.testing.assert_array_equal(tf.make_ndarray(proto), np.array(value))
        expected = tf.make_tensor_proto(np.array(value))
        np.testing.assert_array_equal(
            tf.io.parse_tensor(proto.SerializeToString(), expected.dtype), value
        )


@pytest.mark.parametrize("write", [tf.make_tensor_proto, tensorflows_content])
@pytest.mark.parametrize("strings", [STRINGS, STRINGS[2:4]])
def test_strings_in_both_forms(write, strings):
    proto = write(strings)
    assert decode_tensor(ours(proto), "string", (len(strings),)) == strings


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.float32([[0.5, -1], [2, np.inf]]),
        np.int32([[-5, 7]]),
        np.full((3, 2), 9, np.uint8),
        np.arange(256, dtype=np.uint8),
        np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), np.uint8),
        np.int32([0, 1, 127, 128, 2**31 - 1, -(2**31), -1]),
        np.zeros((2, 2), np.float32),
    ],
)
def test_numbers_in_both_forms(array):
    content = tf.make_tensor_proto(array)
    # As `Tensor::AsProtoField` writes them, with and without repeated last values.
    typed = tensor_pb2.TensorProto(
        dtype=content.dtype, tensor_shape=content.tensor_shape
    )
    name = "float_val" if array.dtype == np.float32 else "int_val"
    getattr(typed, name).extend(array.ravel().tolist())
    shorter = tensor_pb2.TensorProto()
    shorter.CopyFrom(typed)
    if (array == array.ravel()[-1]).all():
        del getattr(shorter, name)[1:]
    for proto in (content, typed, shorter):
        found = decode_tensor(ours(proto), array.dtype.name, array.shape)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
        np.testing.assert_array_equal(found, tf.make_ndarray(proto))


def test_content_that_is_not_as_long_as_it_says():
    proto = tensorflows_content(STRINGS)
    whole, message = proto.tensor_content, "bytes that are not 5 strings|without an end"
    for content in (whole[:-1], whole + b"x", b"\xff" * 40, b"\x80", b"\x01\x01"):
        broken = ours(proto)
        broken.tensor_content = content
        with pytest.raises(ValueError, match=message):
            decode_tensor(broken, "string", (5,))
    image = encode_tensor(np.zeros((2, 3), np.uint8))
    image.tensor_content = b"12345"
    with pytest.raises(ValueError, match=r"5 bytes for uint8 of shape \[2, 3\]"):
        decode_tensor(image, "uint8", (2, 3))
    numbers = encode_tensor(np.zeros(3, np.uint8))
    numbers.tensor_content = b""
    for packed in (b"\x01\x02\x80", b"\x80\x02\x01"):
        numbers.int_val = packed
        with pytest.raises(ValueError, match="numbers that are not of 8 bits"):
            decode_tensor(numbers, "uint8", (3,))
    many = ours(tf.make_tensor_proto([b"a", b"b"]))
    many.tensor_shape.dim[0].size = 1
    with pytest.raises(ValueError, match=r"2 values for string of shape \[1\]"):
        decode_tensor(many, "string", (1,))


def test_a_size_of_gigabytes_is_not_believed():
    proto = encode_tensor(np.zeros((1, 1), np.uint8))
    proto.ClearField("tensor_content")
    proto.int_val = b"\x07"
    proto.tensor_shape.dim[0].size = proto.tensor_shape.dim[1].size = 2**40
    with pytest.raises(ValueError, match="uint8 of shape"):
        decode_tensor(proto, "uint8", (range(1, 100), range(1, 100)))
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(ValueError, match="uint8 of shape None"):
        decode_tensor(proto, "uint8", (1, 1))
