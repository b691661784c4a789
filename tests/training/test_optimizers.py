import re

import keras
import numpy as np
import pytest
from tiny import current_rate

from portrait_tf.compat import Variable, name_slots, ops
from portrait_tf.config import OptimizerConfig, with_changes
from portrait_tf.errors import PortraitError
from portrait_tf.runs.storage import assign_arrays, read_arrays, save_arrays
from portrait_tf.training.commands import train_stage
from portrait_tf.training.optimizers import build_optimizer


def built(config, steps, variables):
    optimizer = build_optimizer(config, steps, "optimizer")
    optimizer.build(variables)
    name_slots(optimizer)
    return optimizer


def rates(optimizer, steps):
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(current_rate(optimizer))
    return found


def test_sgd_with_poly_is_jppnets():
    config = OptimizerConfig(
        name="sgd", learning_rate=1e-4, schedule="poly", power=0.9, momentum=0.9,
        warmup_steps=0, final_fraction=0,
    )  # fmt: skip
    variable = Variable([1.0, 2.0])
    optimizer = built(config, 100, [variable])
    steps = (0, 1, 40, 99, 100, 200)
    expected = [1e-4 * max(1 - step / 100, 0) ** 0.9 for step in steps]
    np.testing.assert_allclose(rates(optimizer, steps), expected, rtol=1e-4)
    # Two steps along one gradient: the second has 0.9 of the first in it.
    optimizer.iterations.assign(0)
    first, second = expected[:2]
    for _ in range(2):
        optimizer.apply_gradients([(ops.convert_to_tensor([1.0, 1.0]), variable)])
    moved = first + (second + 0.9 * first)
    np.testing.assert_allclose(1 - variable.numpy()[0], moved, rtol=2e-3)


@pytest.mark.parametrize(
    "clip_norm, moved", [(1.0, [0.3, 0.4]), (100.0, [1.5, 2.0]), (None, [1.5, 2.0])]
)
def test_gradients_are_clipped_to_one_norm_over_all_variables(clip_norm, moved):
    config = OptimizerConfig(
        name="sgd", learning_rate=0.5, momentum=0, warmup_steps=0, clip_norm=clip_norm
    )
    variables = [Variable([0.0]), Variable([0.0])]
    optimizer = built(config, 10, variables)
    gradients = [ops.convert_to_tensor([value]) for value in (-3.0, -4.0)]
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    found = [float(variable[0]) for variable in variables]
    assert found == pytest.approx(moved, rel=1e-5)


def test_poly_after_a_warm_up():
    config = OptimizerConfig(
        learning_rate=0.5, schedule="poly", power=2, warmup_steps=10, final_fraction=0.1
    )
    optimizer = built(config, 110, [Variable([1.0])])
    assert isinstance(optimizer, keras.optimizers.Adam)
    found = rates(optimizer, (0, 5, 10, 60, 110))
    assert found == pytest.approx([0, 0.25, 0.5, 0.05 + 0.45 * 0.5**2, 0.05], rel=1e-4)


def test_the_default_is_adam_along_a_cosine():
    optimizer = built(OptimizerConfig(), 1100, [Variable([1.0])])
    assert isinstance(optimizer, keras.optimizers.Adam)
    expected = [0, 1e-3, 0.51e-3, 2e-5]
    assert rates(optimizer, (0, 100, 600, 1100)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("parsing", "parsing.training.optimizer.name=radam"),
        ("parsing", "parsing.training.optimizer.lookahead=true"),
        ("completion", "completion.discriminator_optimizer.name=radam"),
        ("face", "face.discriminator_optimizer.lookahead=true"),
    ],
)
@pytest.mark.default_stack("it has these optimizers")
def test_the_default_stack_names_the_one_that_has_them(
    stage, change, tiny_config, portraits, tmp_path
):
    config = with_changes(tiny_config, [change])
    sentence = re.escape(change.replace("=", " ")) + ".* or the addons stack "
    with pytest.raises(PortraitError, match=sentence):
        train_stage(
            stage, config, portraits, tmp_path / "run", earlier={"parsing": "bundled"}
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.addons_stack("Keras 3 has no such optimizers")
class TestAddons:
    CONSTANT = {"learning_rate": 0.1, "warmup_steps": 0, "final_fraction": 1.0}

    def steps(self, count, gradient=(1.0, -2.0), **values):
        """Where a variable is after every step along one gradient."""
        variable = Variable([0.0, 0.0])
        config = OptimizerConfig(**{**self.CONSTANT, **values})
        optimizer = built(config, 100, [variable])
        found = []
        for _ in range(count):
            optimizer.apply_gradients([(ops.convert_to_tensor(gradient), variable)])
            found.append(variable.numpy())
        return np.array(found), optimizer

    def test_radam_is_without_variance_first_and_rectified_then(self):
        found, _ = self.steps(8, name="radam", beta_2=0.9)
        moves = np.diff(found, axis=0, prepend=0.0)
        # arXiv 1908.03265, algorithm 2, of a gradient that stays.
        limit = 2 / (1 - 0.9) - 1
        for step, move in enumerate(moves, start=1):
            length = limit - 2 * step * 0.9**step / (1 - 0.9**step)
            if length < 5:
                expected = [-0.1, 0.2]
            else:
                rectified = (length - 4) * (length - 2) * limit
                rectified /= (limit - 4) * (limit - 2) * length
                expected = np.array([-0.1, 0.1]) * np.sqrt(rectified)
            np.testing.assert_allclose(move, expected, rtol=1e-3)

    def test_lookahead_goes_half_of_the_way_back(self):
        plain, _ = self.steps(6, name="sgd", momentum=0)
        found, _ = self.steps(
            6, name="sgd", momentum=0, lookahead=True, lookahead_steps=3
        )
        np.testing.assert_allclose(found[:2], plain[:2], rtol=1e-6)
        np.testing.assert_allclose(found[2], plain[2] / 2, rtol=1e-6)
        np.testing.assert_allclose(found[5], plain[5] / 2, rtol=1e-6)

    def test_gradients_are_clipped(self):
        found, _ = self.steps(1, (3.0, 4.0), name="sgd", momentum=0, lookahead=True,
                              clip_norm=1.0)  # fmt: skip
        np.testing.assert_allclose(found[0], [-0.06, -0.08], rtol=1e-5)

    @pytest.mark.parametrize("lookahead", [False, True])
    @pytest.mark.parametrize("name", ["adam", "sgd", "radam"])
    def test_it_goes_on_from_a_file_as_if_never_stopped(
        self, name, lookahead, tmp_path
    ):
        """Two layers of one shape, stopped between two synchronisations."""
        rng = np.random.default_rng(0)
        gradients = rng.normal(size=(7, 2, 3)).astype(np.float32)

        def made(values):
            config = OptimizerConfig(
                **self.CONSTANT, name=name, lookahead=lookahead, lookahead_steps=3
            )
            variables = [
                Variable(value, name=f"{layer}/kernel")
                for layer, value in zip("ab", values, strict=True)
            ]
            return variables, built(config, 100, variables)

        def step(variables, optimizer, gradient):
            given = map(ops.convert_to_tensor, gradient)
            optimizer.apply_gradients(zip(given, variables, strict=True))

        variables, optimizer = made(np.zeros((2, 3), np.float32))
        for gradient in gradients[:4]:
            step(variables, optimizer, gradient)
        save_arrays(tmp_path / "a.npz", {"slots": optimizer.variables}, {})
        others, other = made([one.numpy() for one in variables])
        arrays, _ = read_arrays(tmp_path / "a.npz")
        moving = 1 if name == "sgd" else 2
        assert len(arrays) == 1 + 2 * (moving + lookahead)
        for owner in "ab":
            found = [one for one in arrays if f"optimizer/{owner}_kernel_" in one]
            assert len(found) == moving + lookahead
        assign_arrays(other.variables, arrays, "slots", "a.npz")
        assert int(other.iterations) == 4
        for gradient in gradients[4:]:
            step(variables, optimizer, gradient)
            step(others, other, gradient)
        for one, two in zip(variables, others, strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy())
        assert current_rate(optimizer) == pytest.approx(0.1)
