"""What a version's folder holds beside the graphs, held to the graphs."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from export.contract import SIGNATURES, max_batch
from export.publishing import list_versions
from export.stored import StoredNetworks, stored_values
from portrait_tf.errors import PortraitError
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import JOINTS, LABELS
from serving.local_server.batching import BatchingParameters


@pytest.fixture(scope="module")
def version(tiny_models):
    return tiny_models / "1"


@pytest.fixture(scope="module")
def description(version):
    return json.loads((version / "signature.json").read_text())


def read_graph(folder):
    content = (folder / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]


def test_every_field_is_described_as_the_graph_has_it(version, description):
    found = {
        name: definition
        for name, definition in read_graph(version).signature_def.items()
        if definition.inputs
    }
    assert found.keys() == SIGNATURES.keys() == description["signatures"].keys()
    for name, signature in description["signatures"].items():
        for kind in ("inputs", "outputs"):
            infos = getattr(found[name], kind)
            assert set(signature[kind]) == set(infos)
            for field, one in signature[kind].items():
                assert one["dtype"] == tf.as_dtype(infos[field].dtype).name, field
                sizes = [size.size for size in infos[field].tensor_shape.dim]
                for said, size in zip(one["shape"], sizes, strict=True):
                    # A letter may be any size; a number is the graph's, if it knows.
                    assert size == -1 or said == size, (name, field, sizes)
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


def test_batching_is_what_tensorflow_serving_takes(version, description):
    parameters = BatchingParameters.read(version / "batching_params.pbtxt")
    assert list(parameters.allowed_batch_sizes) == description["batch_sizes"]
    assert parameters.max_batch_size <= description["limits"]["photos_per_batch"]
    assert not parameters.pad_variable_length_inputs


def test_warm_up_covers_every_signature_and_batch_size(version, description):
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    assert path.stat().st_size < 20_000
    found = []
    # The server of many a test replays them, and would not start if one failed.
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        name = request.model_spec.signature_name
        assert request.model_spec.name == "portrait"
        assert set(request.inputs) == set(description["signatures"][name]["inputs"])
        batch = {len(tf.make_ndarray(proto)) for proto in request.inputs.values()}
        found.append((name, *batch))
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
    functions = read_graph(version).graph_def.library.function
    names = " ".join(one.signature.name for one in functions)
    stages = re.findall(r"__inference__(find|paint)_\d+", names)
    assert sorted(stages) == ["find", "paint"]


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
        plain = StoredNetworks(tiny_pipeline)
        assert 2 * networks.bytes == plain.bytes and networks.sha256 != plain.sha256
        assert {one.dtype for one in networks.module.variables} == {tf.float16}

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
