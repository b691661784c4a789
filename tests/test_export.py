"""Export, then a fresh process that serves it, then gRPC."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from export import saved_model
from export.saved_model import export_pipeline, run_signature
from portrait_tf.engines import SavedModelEngine
from portrait_tf.errors import PortraitError
from portrait_tf.photos import encode_png
from portrait_tf.pipeline import Pipeline
from serving.client import PortraitClient, ServerError


def decode(content):
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return picture[..., ::-1] if picture.ndim == 3 else picture


def photo_and_mask(size, seed=0):
    rng = np.random.default_rng(seed)
    photo = cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), size[::-1])
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 2 :, : size[1] // 2] = 255
    return photo, mask


@pytest.fixture(scope="module")
def models(tiny_pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    assert export_pipeline(tiny_pipeline, folder) == folder / "1"
    return folder


@pytest.fixture(scope="module")
def server(models):
    """`portrait-tf serve` in a process of its own; gives the gRPC address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "portrait_tf.cli", "serve", str(models),
         "--port", "0", "--rest_api_port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    assert "gRPC 127.0.0.1:" in line, process.stderr.read()
    yield line.split("gRPC ")[1].split(",")[0]
    process.terminate()
    assert process.wait(30) == 0, process.stderr.read()
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize("size", [(32, 32), (61, 47), (150, 200)])
def test_grpc_answers_as_keras_does(tiny_pipeline, server, size):
    photo, mask = photo_and_mask(size)
    expected = tiny_pipeline(photo[None], mask[None, ..., None])
    with PortraitClient(server) as client:
        client.wait_until_available()
        plain = client.complete(photo, mask)
        completed, parsing = client.complete_encoded(
            encode_png(photo), encode_png(mask)
        )
    wanted = expected["completed"].numpy()[0]
    labels = expected["parsing"].numpy()[0, ..., 0]
    for found, found_labels in (
        (plain.completed, np.squeeze(plain.parsing)),
        (decode(completed), decode(parsing)),
    ):
        assert np.abs(found.astype(int) - wanted).max() <= 1
        assert np.mean(found_labels != labels) < 0.01
        np.testing.assert_array_equal(found[mask == 0], photo[mask == 0])


def test_photos_of_different_sizes_in_one_encoded_batch(tiny_pipeline, models):
    pairs = [
        photo_and_mask(size, seed) for seed, size in enumerate([(40, 30), (33, 64)])
    ]
    requests = {
        "encoded": {
            "image_bytes": np.array([encode_png(p) for p, _ in pairs], object),
            "mask_bytes": np.array([encode_png(m) for _, m in pairs], object),
        }
    }
    answer = run_signature(models / "1", requests)["encoded"]
    for index, (photo, mask) in enumerate(pairs):
        wanted = tiny_pipeline(photo[None], mask[None, ..., None])["completed"].numpy()[
            0
        ]
        found = decode(answer["completed_bytes"][index])
        assert np.abs(found.astype(int) - wanted).max() <= 1


def test_encoded_jpeg_is_taken(server):
    photo, mask = photo_and_mask((48, 40))
    jpeg = cv2.imencode(".jpg", photo)[1].tobytes()
    with PortraitClient(server) as client:
        completed, _ = client.complete_encoded(jpeg, encode_png(mask))
    assert decode(completed).shape == photo.shape


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (b"no picture", None, "INVALID_ARGUMENT"),
        (None, b"no picture", "INVALID_ARGUMENT"),
        (
            None,
            encode_png(np.full((9, 9), 255, np.uint8)),
            "one batch, height and width",
        ),
    ],
)
def test_bad_files_are_invalid_arguments(server, image, mask, message):
    photo, hole = photo_and_mask((24, 24))
    with PortraitClient(server) as client, pytest.raises(ServerError) as caught:
        client.complete_encoded(image or encode_png(photo), mask or encode_png(hole))
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert message in str(caught.value) or message == "INVALID_ARGUMENT"


def test_the_version_folder_is_complete(models):
    found = {str(path.relative_to(models / "1")) for path in (models / "1").rglob("*")}
    assert {"saved_model.pb", "assets.extra/tf_serving_warmup_requests"} <= found
    assert [path.name for path in models.iterdir()] == ["1"]
    records = list(
        tf.data.TFRecordDataset(
            str(models / "1" / "assets.extra" / "tf_serving_warmup_requests")
        )
    )
    assert len(records) == 2


def test_signatures_have_the_documented_names_and_types(models):
    model = tf.saved_model.load(str(models / "1"))
    found = {
        name: (
            {k: (s.dtype.name, len(s.shape)) for k, s in
             function.structured_input_signature[1].items()},
            {k: (s.dtype.name, len(s.shape)) for k, s in
             function.structured_outputs.items()},
        )
        for name, function in model.signatures.items()
    }  # fmt: skip
    image, text = ("uint8", 4), ("string", 1)
    assert found == {
        "serving_default": (
            {"image": image, "mask": image},
            {"completed": image, "parsing": image},
        ),
        "encoded": (
            {"image_bytes": text, "mask_bytes": text},
            {"completed_bytes": text, "parsing_bytes": text},
        ),
    }


def test_in_process_engine_takes_the_highest_version(models, tiny_pipeline, tmp_path):
    photo, mask = photo_and_mask((30, 20))
    completed, parsing = SavedModelEngine(models).complete(photo, mask)
    assert completed.shape == photo.shape and parsing.shape == mask.shape
    with pytest.raises(PortraitError, match="holds no exported model"):
        SavedModelEngine(tmp_path)


@pytest.mark.long
def test_with_a_face_network_it_is_published(tiny_face_pipeline, tmp_path):
    """`export_pipeline` compares every signature; here the faces make a difference."""
    inputs = saved_model.example_inputs(tiny_face_pipeline.size)["serving_default"]
    plain = Pipeline(
        tiny_face_pipeline.parsing_network, tiny_face_pipeline.completion_network
    )
    with_face, without = (
        pipeline(inputs["image"], inputs["mask"])["completed"].numpy().astype(int)
        for pipeline in (tiny_face_pipeline, plain)
    )
    assert np.abs(with_face - without).max() > 10
    folder = export_pipeline(tiny_face_pipeline, tmp_path / "models")
    assert (folder / "saved_model.pb").is_file()


def test_a_wrong_export_is_not_published(tiny_pipeline, tmp_path, monkeypatch):
    """Written with other weights than it is compared with, it must be found out."""
    write = saved_model._write

    def write_wrong(pipeline, folder):
        network = pipeline.completion_network
        weights = network.get_weights()
        network.set_weights([w * 1.5 for w in weights])
        try:
            write(pipeline, folder)
        finally:
            network.set_weights(weights)

    monkeypatch.setattr(saved_model, "_write", write_wrong)
    with pytest.raises(RuntimeError, match="it was not published"):
        export_pipeline(tiny_pipeline, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_the_next_number_is_taken_and_others_stay(tiny_pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "_write", lambda _, folder: (folder / "x").touch())
    monkeypatch.setattr(saved_model, "check_export", lambda *_: None)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "file").touch()
    (tmp_path / "notes").mkdir()
    assert export_pipeline(tiny_pipeline, tmp_path).name == "8"
    assert (tmp_path / "7" / "file").exists()


def test_an_unwritable_folder_is_named(tiny_pipeline, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PortraitError, match="file: cannot write the export there"):
        export_pipeline(tiny_pipeline, tmp_path / "file")
