import numpy as np
import pytest

from portrait_tf.errors import PortraitError
from portrait_tf.models import CompletionNetwork, Discriminator
from portrait_tf.runs.storage import assign_arrays, read_arrays, save_arrays
from portrait_tf.runs.weights import load_weights, save_weights


def network(width=8, **arguments):
    arguments = {"widths": (width, 8, 8), "dilations": (1,), **arguments}
    return CompletionNetwork(size=(16, 16), **arguments)


def test_weights_round_trip_in_float16(tmp_path):
    one = network()
    save_weights(one, tmp_path / "w.npz", {"seed": 1})
    two = load_weights(tmp_path / "w.npz")
    assert two.get_config() == one.get_config()
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a.astype(np.float16).astype(np.float32), b)
    arrays, meta = read_arrays(tmp_path / "w.npz")
    assert meta["recipe"] == {"seed": 1}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"width": 12}, "in the file and"),
        ({"dilations": (1, 2)}, "it has no"),
        ({"dilations": ()}, "which this network has not"),
    ],
)
def test_another_architecture_is_refused_and_nothing_is_set(tmp_path, other, message):
    save_arrays(tmp_path / "w.npz", {"network": network().weights}, {})
    arrays, _ = read_arrays(tmp_path / "w.npz")
    target = network(**other)
    before = target.get_weights()
    with pytest.raises(PortraitError, match=f"w.npz fits another arch.*{message}"):
        assign_arrays(target.weights, arrays, "network", tmp_path / "w.npz")
    for a, b in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_missing_damaged_and_foreign_files_are_named(tmp_path):
    with pytest.raises(PortraitError, match="no such weights file.*none.npz"):
        read_arrays(tmp_path / "none.npz")
    path = tmp_path / "w.npz"
    save_weights(network(), path, {})
    content = path.read_bytes()
    wrong = content[:70] + b"\xff" * 8 + content[78:]
    for damaged in (content[: len(content) // 2], b"", b"text", wrong):
        path.write_bytes(damaged)
        with pytest.raises(PortraitError, match="w.npz is damaged or is no weights"):
            read_arrays(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(PortraitError, match="w.npz is damaged or is no weights"):
        read_arrays(path)
    save_weights(Discriminator(size=(16, 16), widths=(4,)), path, {})
    with pytest.raises(PortraitError, match="holds 'Discriminator'; expected one of"):
        load_weights(path)
