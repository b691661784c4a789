"""What is refused over gRPC: the status, and a phrase that people search for.

Phrases are TensorFlow Serving's own, from its sources; where TensorFlow's operations
word the refusal, only the status is held to.
"""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conformance_calls import TIMEOUT, make_photo, predict
from grpc_calls import make_request, make_tensor, refused
from serving_photos import png
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2

IMAGE, MASK = make_photo()
NOT_THERE = 10**9


def default(model="portrait", **changes):
    return make_request(model, **({"image": IMAGE, "mask": MASK} | changes))


def tensor(shape, **values):
    return make_tensor(types_pb2.DT_UINT8, shape, **values)


UNKNOWN_RANK = tensor_pb2.TensorProto(
    dtype=tf.uint8.as_datatype_enum,
    tensor_shape=tf.TensorShape(None).as_proto(),
    int_val=[1],
)
REFUSED = {
    "unknown model": (
        {"model": "no_such_model"}, "NOT_FOUND",
        "Servable not found for request: Latest(no_such_model)",
    ),
    "unknown version": (
        {"version": NOT_THERE}, "NOT_FOUND",
        "Servable not found for request: Specific(",
    ),
    "unknown label": ({"label": "no_such"}, "INVALID_ARGUMENT", "no_such"),
    "no model name": (
        {"model": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified",
    ),
    "unknown signature": (
        {"signature": "no_such"}, "FAILED_PRECONDITION",
        'Serving signature key "no_such" not found.',
    ),
    "extra input": ({"size": IMAGE}, "INVALID_ARGUMENT", "Sent extra: {size}"),
    "unknown output": (
        {"outputs": ["no_such"]}, "INVALID_ARGUMENT",
        "output tensor alias not found in signature: no_such",
    ),
    "repeated output": (
        {"outputs": ["parsing", "parsing"]}, "INVALID_ARGUMENT",
        "duplicate output tensor alias",
    ),
    **{
        name: ({"image": image}, "INVALID_ARGUMENT", phrase)
        for name, image, phrase in (
            ("wrong dtype", IMAGE.astype(np.float32), "to be uint8 but float"),
            ("a string for numbers", [b"x"], "to be uint8 but string"),
            ("rank 3", IMAGE[0], ""),
            ("rank 0", np.uint8(1), ""),
            ("rank 5", IMAGE[None], ""),
            ("four channels", np.zeros((1, 40, 32, 4), np.uint8), ""),
        )
    },
    **{
        name: ({"mask": mask}, "INVALID_ARGUMENT", phrase)
        for phrase, masks in {
            "": {
                "a mask of another size": MASK[:, :20],
                "a mask of another batch": np.concatenate([MASK, MASK]),
            },
            "tensor parsing error: mask": {
                "content that is too short": tensor(MASK.shape, tensor_content=b"123"),
                "a negative size": tensor((1, 40, -32, 1), int_val=[1]),
                "sizes beyond 64 bits": tensor((2**62, 2**62, 2**62, 1), int_val=[1]),
                "an unknown rank": UNKNOWN_RANK,
            },
        }.items()
        for name, mask in masks.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(prediction, model, needs, name):
    needs("serving_default")
    changes, code, phrase = REFUSED[name]
    request = default(**{"model": model} | changes)
    found, details = refused(lambda: prediction.Predict(request, timeout=TIMEOUT))
    assert found == code, details
    assert phrase in details
    predict(prediction, default(model))  # The process is alive and well.


@pytest.mark.parametrize(
    ("inputs", "phrase"),
    [
        ({"image": IMAGE}, "Missing but required: {mask}"),
        ({}, "input size does not match signature: 0!=2"),
        ({"image": IMAGE, "hole": MASK}, "hole"),
    ],
)
def test_inputs_that_are_missing(prediction, model, needs, inputs, phrase):
    needs("serving_default")
    for request, said in (
        (make_request(model, **inputs), phrase),
        (predict_pb2.PredictRequest(), "Missing ModelSpec"),
    ):
        code, details = refused(lambda one=request: prediction.Predict(one, TIMEOUT))
        assert code == "INVALID_ARGUMENT" and said in details


FILES = {
    "garbage for a photo": (b"no picture", png(MASK[0])),
    "garbage for a mask": (png(IMAGE[0]), b"no picture"),
    "nothing for a photo": (b"", png(MASK[0])),
    "a photo that is cut off": (png(IMAGE[0])[:300], png(MASK[0])),
    "a mask of another size": (png(IMAGE[0]), png(MASK[0, :20])),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_refused(prediction, model, needs, name):
    needs("encoded")
    image, mask = FILES[name]
    request = make_request(model, "encoded", image_bytes=[image], mask_bytes=[mask])
    code, details = refused(lambda: prediction.Predict(request, timeout=TIMEOUT))
    assert code == "INVALID_ARGUMENT", details
    good = make_request(
        model, "encoded", image_bytes=[png(IMAGE[0])], mask_bytes=[png(MASK[0])]
    )
    predict(prediction, good)


@pytest.mark.parametrize("counts", [(1, 2), (2, 1)])
def test_files_of_different_batches(prediction, model, needs, counts):
    needs("encoded")
    images, masks = ([png(one[0])] * n for one, n in zip((IMAGE, MASK), counts))  # noqa: B905
    request = make_request(model, "encoded", image_bytes=images, mask_bytes=masks)
    code, details = refused(lambda: prediction.Predict(request, timeout=TIMEOUT))
    assert code == "INVALID_ARGUMENT", details


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("parse", {"image": IMAGE[0], "mask": MASK}),
        ("parse", {"image": IMAGE, "mask": MASK[..., 0]}),
        ("complete_with_parsing", {"image": IMAGE, "mask": MASK, "parsing": MASK[0]}),
        (
            "complete_with_parsing",
            {"image": IMAGE, "mask": MASK, "parsing": MASK[:, :20]},
        ),
        (
            "complete_with_joints",
            {"image": IMAGE, "mask": MASK, "joints": np.zeros((16, 3), np.float32)},
        ),
        ("extrapolate", {"image": IMAGE, "margins": np.zeros(4, np.float32)}),
        ("extrapolate", {"image": IMAGE, "margins": np.zeros((1, 3), np.float32)}),
        ("extrapolate", {"image": IMAGE, "margins": np.zeros((2, 4), np.float32)}),
        ("extrapolate", {"image": IMAGE[0], "margins": np.zeros((1, 4), np.float32)}),
    ],
)
def test_shapes_of_other_signatures(prediction, model, needs, signature, inputs):
    needs(signature)
    request = make_request(model, signature, **inputs)
    code, details = refused(lambda: prediction.Predict(request, timeout=TIMEOUT))
    assert code == "INVALID_ARGUMENT", details


@pytest.mark.parametrize("shape", [(0, 40, 32), (1, 0, 32), (1, 0, 0)])
def test_nothing_in_a_batch_or_photo_harms_nobody(prediction, model, needs, shape):
    needs("serving_default")
    request = default(
        model,
        image=np.zeros((*shape, 3), np.uint8),
        mask=np.zeros((*shape, 1), np.uint8),
    )
    try:
        outputs, _ = predict(prediction, request)
        assert outputs["completed"].shape == (*shape, 3)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.details()
    predict(prediction, default(model))


def test_deadline(prediction, model, needs):
    needs("serving_default")
    image, mask = make_photo(1320, 1280)
    request = default(model, image=image, mask=mask)
    code, _ = refused(lambda: prediction.Predict(request, timeout=0.002))
    assert code == "DEADLINE_EXCEEDED"
    predict(prediction, default(model))


def test_a_method_that_does_not_exist(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/NoSuchMethod")
    code, _ = refused(lambda: call(b"", timeout=TIMEOUT))
    assert code == "UNIMPLEMENTED"


def test_a_service_that_does_not_exist(channel):
    call = channel.unary_unary("/tensorflow.serving.NoSuchService/Predict")
    code, _ = refused(lambda: call(b"", timeout=TIMEOUT))
    assert code == "UNIMPLEMENTED"


def test_classify_does_not_take_a_predict_signature(prediction, model):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = model
    request.input.example_list.examples.add()
    code, details = refused(lambda: prediction.Classify(request, timeout=TIMEOUT))
    assert code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED"), details


def test_bytes_that_are_no_message(channel, prediction, model, needs):
    needs("serving_default")
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    refused(lambda: call(b"\xff" * 50, timeout=TIMEOUT))
    predict(prediction, default(model))
