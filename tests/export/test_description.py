"""What a version's folder holds beside the graphs, held to the graphs."""

import hashlib
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from export.contract import SIGNATURES, max_batch
from export.description import batching_params
from export.publishing import list_versions
from export.saved_model import open_session
from export.stored import StoredNetworks, stored_values
from portrait_tf.errors import PortraitError
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import JOINTS, LABELS


@pytest.fixture(scope="module")
def version(tiny_models):
    return tiny_models / "1"


@pytest.fixture(scope="module")
def description(version):
    return json.loads((version / "signature.json").read_text())


def signature_defs(folder):
    model = saved_model_pb2.SavedModel.FromString(
        (folder / "saved_model.pb").read_bytes()
    )
    return {
        name: definition
        for name, definition in model.meta_graphs[0].signature_def.items()
        if definition.inputs
    }


def test_every_field_is_described_as_the_graph_has_it(version, description):
    found = {
        name: {
            kind: {
                field: (
                    tf.as_dtype(info.dtype).name,
                    [size.size for size in info.tensor_shape.dim],
                )
                for field, info in getattr(definition, kind).items()
            }
            for kind in ("inputs", "outputs")
        }
        for name, definition in signature_defs(version).items()
    }
    assert set(found) == set(SIGNATURES)
    for name, signature in description["signatures"].items():
        for kind in ("inputs", "outputs"):
            assert set(signature[kind]) == set(found[name][kind])
            for field, one in signature[kind].items():
                dtype, shape = found[name][kind][field]
                assert one["dtype"] == dtype, field
                assert len(one["shape"]) == len(shape), (name, field)
                for said, size in zip(one["shape"], shape, strict=True):
                    # A letter may be any size; a number is the graph's, if it knows.
                    assert size == -1 or said == size, (name, field, shape)
                assert one["meaning"] and one["unit"]


def test_signature_json_says_what_it_is(version, description, tiny_pipeline):
    assert description["working_size"] == [32, 32]
    assert description["precision"] == "float32"
    assert description["versions"]["tensorflow"] == tf.__version__
    assert description["labels"] == list(LABELS)
    assert description["joints"] == list(JOINTS)
    assert description["batch_sizes"] == [1, 2, 4, 8]
    networks = StoredNetworks(tiny_pipeline)
    assert description["weights"]["sha256"] == networks.sha256
    count = sum(network.count_params() for network in tiny_pipeline.keras_models)
    assert description["weights"]["bytes"] == 4 * count
    (listed,) = list_versions(version.parent)
    assert listed.problem == "" and listed.signatures == list(SIGNATURES)


def test_the_readme_names_every_field_and_limit(version, description):
    text = (version / "README.md").read_text()
    for name, signature in description["signatures"].items():
        assert f"## `{name}`" in text
        for field in [*signature["inputs"], *signature["outputs"]]:
            assert f"| `{field}` |" in text
    for limit in description["limits"].values():
        assert str(limit) in text
    assert all(f"{index} {label}" in text for index, label in enumerate(LABELS))
    # Tables whose rows have as many cells as their heads.
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {7}


def test_batching_is_consistent(version, description):
    text = (version / "batching_params.pbtxt").read_text()
    fields = re.findall(r"^(\w+)(?: \{ value)?: (\w+)", text, re.MULTILINE)
    allowed = [int(size) for name, size in fields if name == "allowed_batch_sizes"]
    assert allowed == description["batch_sizes"]
    single = {name: value for name, value in fields if name != "allowed_batch_sizes"}
    assert set(single) == {
        "max_batch_size", "batch_timeout_micros", "max_enqueued_batches",
        "num_batch_threads", "pad_variable_length_inputs",
    }  # fmt: skip
    assert int(single["max_batch_size"]) == allowed[-1]
    assert allowed[-1] <= description["limits"]["photos_per_batch"]
    # Each has its reason above it.
    lines = text.splitlines()
    for name in single:
        index = next(i for i, line in enumerate(lines) if line.startswith(name))
        assert lines[index - 1].startswith("# ")


def test_batching_is_a_text_proto():
    """Of the shape of TensorFlow Serving's `BatchingParameters`, whose file no package
    has."""
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto",
        package="test",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )  # fmt: skip
    message = file.message_type.add(name="BatchingParameters")
    kinds = descriptor_pb2.FieldDescriptorProto
    wrapped = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches",
               "num_batch_threads")  # fmt: skip
    for number, name in enumerate(wrapped, 1):
        message.field.add(
            name=name, number=number, type=kinds.TYPE_MESSAGE,
            label=kinds.LABEL_OPTIONAL, type_name=".google.protobuf.Int64Value",
        )  # fmt: skip
    message.field.add(
        name="allowed_batch_sizes", number=6, type=kinds.TYPE_INT64,
        label=kinds.LABEL_REPEATED,
    )  # fmt: skip
    message.field.add(
        name="pad_variable_length_inputs", number=7, type=kinds.TYPE_BOOL,
        label=kinds.LABEL_OPTIONAL,
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("test.BatchingParameters")
    )
    parsed = text_format.Parse(batching_params([1, 3]), kind())
    assert parsed.max_batch_size.value == 3
    assert list(parsed.allowed_batch_sizes) == [1, 3]


@pytest.mark.long
def test_warm_up_covers_every_signature_and_batch_size(version, description):
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    assert path.stat().st_size < 20_000
    found = []
    with open_session(version) as run:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(
                record
            ).predict_log.request
            assert request.model_spec.name == "portrait"
            inputs = {
                name: tf.make_ndarray(proto) for name, proto in request.inputs.items()
            }
            answer = run(request.model_spec.signature_name, inputs)
            batch = {len(value) for value in [*inputs.values(), *answer.values()]}
            found.append((request.model_spec.signature_name, *batch))
    assert found == [
        (name, size) for name in SIGNATURES for size in description["batch_sizes"]
    ]


def test_weights_are_on_disk_once(version, description):
    variables = version / "variables"
    reader = tf.train.load_checkpoint(str(variables / "variables"))
    shapes = reader.get_variable_to_shape_map()
    weights = [name for name in shapes if name.startswith("weights/")]
    assert len(shapes) == len(weights) + 1  # The other is the checkpoint's own table.
    count = sum(int(np.prod(shapes[name])) for name in weights)
    assert 4 * count == description["weights"]["bytes"]
    data = (variables / "variables.data-00000-of-00001").stat().st_size
    assert data < 1.05 * description["weights"]["bytes"]
    # And each stage has one graph, which all signatures call.
    stages = re.findall(rb"__inference__(parse|paint)_\d+", _functions(version))
    assert sorted(stages) == [b"paint", b"parse"]


def _functions(folder):
    model = saved_model_pb2.SavedModel.FromString(
        (folder / "saved_model.pb").read_bytes()
    )
    library = model.meta_graphs[0].graph_def.library
    return b" ".join(one.signature.name.encode() for one in library.function)


class TestStoredNetworks:
    def test_copies_at_other_scales_share_the_weights(self, tiny_pipeline):
        averaged = Pipeline(
            tiny_pipeline.parsing_network,
            tiny_pipeline.completion_network,
            flip=True,
            scales=(1.0, 0.5, 1.5),
        )
        assert len(averaged.keras_models) == 4
        plain, shared = StoredNetworks(tiny_pipeline), StoredNetworks(averaged)
        assert shared.bytes == plain.bytes
        assert shared.sha256 == plain.sha256
        assert len(shared.module.variables) == len(plain.module.variables)

    def test_float16_is_half(self, tiny_pipeline):
        networks = StoredNetworks(tiny_pipeline, "float16")
        assert 2 * networks.bytes == StoredNetworks(tiny_pipeline).bytes
        assert {one.dtype for one in networks.module.variables} == {tf.float16}

    def test_the_hash_is_the_weights(self, tiny_pipeline):
        digest = hashlib.sha256()
        for network in tiny_pipeline.keras_models:
            for value in stored_values(network, "float32"):
                digest.update(f"{value.dtype.str}{value.shape}".encode())
                digest.update(value.tobytes())
        assert StoredNetworks(tiny_pipeline).sha256 == digest.hexdigest()

    def test_weights_too_large_for_float16_are_refused(self, tiny_pipeline):
        network = tiny_pipeline.completion_network
        variable = network.variables[0]
        kept = variable.numpy()
        try:
            variable.assign(np.full(kept.shape, 1e5))
            assert stored_values(network, "float32")
            with pytest.raises(PortraitError, match="not finite in float16"):
                stored_values(network, "float16")
            variable.assign(np.full(kept.shape, np.nan))
            with pytest.raises(PortraitError, match="not finite in float32"):
                stored_values(network, "float32")
        finally:
            variable.assign(kept)


@pytest.mark.parametrize(
    ("size", "most"),
    [((32, 32), 64), ((192, 128), 64), ((256, 256), 32), ((768, 512), 8)],
)
def test_larger_networks_take_fewer_photos(size, most):
    assert max_batch(size) == most
