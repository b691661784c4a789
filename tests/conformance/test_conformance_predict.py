"""Predict over gRPC: every signature that the export has."""

import concurrent.futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conformance_calls import (
    TIMEOUT,
    check_completed,
    make_photo,
    predict,
    prediction_stub,
)
from export_photos import decode as unpng
from grpc_calls import make_request, make_tensor
from serving_photos import png
from tensorflow.core.framework import types_pb2


@pytest.mark.parametrize(
    ("height", "width", "batch"), [(40, 32, 1), (33, 57, 1), (64, 48, 3)]
)
def test_serving_default(prediction, model, metadata, needs, height, width, batch):
    needs("serving_default")
    image, mask = make_photo(height, width, batch)
    outputs, response = predict(prediction, make_request(model, image=image, mask=mask))
    assert set(outputs) == {"completed", "parsing"}
    check_completed(image, mask, **outputs)
    assert response.model_spec.name == model
    assert response.model_spec.version.value == metadata[0]
    assert response.model_spec.signature_name == "serving_default"


def test_a_signature_by_its_name(prediction, model, metadata, needs):
    needs("serving_default")
    image, mask = make_photo()
    unnamed, _ = predict(prediction, make_request(model, image=image, mask=mask))
    named, _ = predict(
        prediction,
        make_request(model, "serving_default", metadata[0], image=image, mask=mask),
    )
    for name, value in unnamed.items():
        np.testing.assert_array_equal(named[name], value)


def test_encoded(prediction, model, needs):
    needs("encoded")
    photos = [make_photo(40, 32), make_photo(57, 33, seed=1)]
    outputs, response = predict(
        prediction,
        make_request(
            model,
            "encoded",
            image_bytes=[png(image[0]) for image, _ in photos],
            mask_bytes=[png(mask[0]) for _, mask in photos],
        ),
    )
    assert response.model_spec.signature_name == "encoded"
    assert set(outputs) == {"completed_bytes", "parsing_bytes"}
    for index, (image, mask) in enumerate(photos):
        check_completed(
            image[0],
            mask[0],
            unpng(outputs["completed_bytes"][index]),
            unpng(outputs["parsing_bytes"][index]),
        )


@pytest.mark.parametrize("batch", [1, 2])
def test_parse(prediction, model, metadata, needs, batch):
    needs("parse")
    image, mask = make_photo(batch=batch)
    outputs, _ = predict(
        prediction, make_request(model, "parse", image=image, mask=mask)
    )
    assert set(outputs) == set(metadata[1]["parse"].outputs)
    assert outputs["parsing"].shape == mask.shape and outputs["parsing"].max() < 20
    if "joints" in outputs:
        assert outputs["joints"].dtype == np.float32
        assert outputs["joints"].shape == (batch, 16, 3)
        assert np.isfinite(outputs["joints"]).all()


def test_complete_with_parsing(prediction, model, needs):
    needs("complete_with_parsing")
    image, mask = make_photo(batch=2)
    for label in (5, 255):
        outputs, _ = predict(
            prediction,
            make_request(
                model,
                "complete_with_parsing",
                image=image,
                mask=mask,
                parsing=np.full_like(mask, label),
            ),
        )
        assert set(outputs) == {"completed"}
        check_completed(image, mask, outputs["completed"])


def test_complete_with_joints(prediction, model, needs):
    needs("complete_with_joints")
    image, mask = make_photo(batch=2)
    joints = np.zeros((2, 16, 3), np.float32)
    joints[1, 5] = 9, 30, 1
    # Where no joint is given, no place is read.
    joints[0, :, :2] = np.nan
    request = make_request(
        model, "complete_with_joints", image=image, mask=mask, joints=joints
    )
    outputs, _ = predict(prediction, request)
    assert set(outputs) == {"completed", "parsing", "joints"}
    check_completed(image, mask, outputs["completed"], outputs["parsing"])
    assert outputs["joints"].shape == (2, 16, 3)
    assert np.isfinite(outputs["joints"]).all()


def test_extrapolate(prediction, model, needs):
    needs("extrapolate")
    image, _ = make_photo(40, 32, batch=2)
    # Top, bottom, left, right: below and to the right, then above.
    margins = np.array([[0, 0.25, 0, 0.5], [0.5, 0, 0, 0]], np.float32)
    outputs, _ = predict(
        prediction, make_request(model, "extrapolate", image=image, margins=margins)
    )
    assert set(outputs) == {"completed", "parsing", "size"}
    assert outputs["size"].dtype == np.int32
    assert outputs["size"].tolist() == [[50, 48], [60, 32]]
    completed, parsing = outputs["completed"], outputs["parsing"]
    assert completed.shape == (2, 60, 48, 3) and parsing.shape == (2, 60, 48, 1)
    assert completed.dtype == parsing.dtype == np.uint8 and parsing.max() < 20
    np.testing.assert_array_equal(completed[0, :40, :32], image[0])
    np.testing.assert_array_equal(completed[1, 20:60, :32], image[1])
    # What is beyond a sample's own size is zero.
    for value in (completed, parsing):
        assert not value[0, 50:].any() and not value[0, :, 48:].any()
        assert not value[1, :, 32:].any()


def test_output_filter(prediction, model, needs):
    needs("serving_default")
    image, mask = make_photo()
    whole, _ = predict(prediction, make_request(model, image=image, mask=mask))
    for name in ("parsing", "completed"):
        outputs, _ = predict(
            prediction, make_request(model, outputs=[name], image=image, mask=mask)
        )
        assert list(outputs) == [name]
        np.testing.assert_array_equal(outputs[name], whole[name])


def test_typed_fields_and_content_mean_the_same(prediction, model, needs):
    needs("serving_default")
    image, mask = make_photo(24, 20)
    typed = {
        name: make_tensor(
            types_pb2.DT_UINT8, value.shape, int_val=value.ravel().tolist()
        )
        for name, value in (("image", image), ("mask", mask))
    }
    content = {
        name: make_tensor(
            types_pb2.DT_UINT8, value.shape, tensor_content=value.tobytes()
        )
        for name, value in (("image", image), ("mask", mask))
    }
    one, response = predict(prediction, make_request(model, **typed))
    other, _ = predict(prediction, make_request(model, **content))
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
        # TensorFlow's own reader agrees with the one of this suite.
        proto = response.outputs[name]
        np.testing.assert_array_equal(value, tf.make_ndarray(proto))
        assert bool(proto.tensor_content) != bool(proto.int_val)
    check_completed(image, mask, **one)


def test_the_last_typed_value_stands_for_the_rest(prediction, model, needs):
    needs("serving_default")
    image, mask = make_photo()
    mask[:] = 0
    mask[0, 0, :3] = 1
    short = make_tensor(types_pb2.DT_UINT8, mask.shape, int_val=[1, 1, 1, 0])
    whole, _ = predict(prediction, make_request(model, image=image, mask=mask))
    outputs, _ = predict(prediction, make_request(model, image=image, mask=short))
    for name, value in whole.items():
        np.testing.assert_array_equal(outputs[name], value)


def test_no_value_at_all_is_zero(prediction, model, needs):
    needs("serving_default")
    image, mask = make_photo()
    empty = make_tensor(types_pb2.DT_UINT8, mask.shape)
    outputs, _ = predict(prediction, make_request(model, image=image, mask=empty))
    np.testing.assert_array_equal(outputs["completed"], image)


def test_answers_above_4_mb(prediction, addresses, model, needs):
    needs("serving_default")
    image, mask = make_photo(1320, 1280)
    request = make_request(model, image=image, mask=mask)
    outputs, response = predict(prediction, request)
    assert response.ByteSize() > 5_000_000
    check_completed(image, mask, **outputs)
    # It is the client that has to raise its limit.
    with grpc.insecure_channel(addresses[0]) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            prediction_stub(channel).Predict(request, timeout=TIMEOUT)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_concurrent_requests_do_not_mix(prediction, model, needs):
    needs("serving_default")

    def complete(index):
        image, mask = make_photo(seed=index)
        request = make_request(model, image=image, mask=mask)
        outputs, _ = predict(prediction, request)
        check_completed(image, mask, **outputs)
        return outputs["completed"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(complete, range(24)))
    assert len({value.tobytes() for value in found}) == 24
