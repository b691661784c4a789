"""What trainers do beside training: averages, guard, best weights, curves."""

import importlib.util
import json
import re
import shutil
import threading
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf
from command_line import run
from tiny import TINY, assert_equal_arrays
from trainers import arrays_of, first_batch, trainer_of

from portrait_tf.compat import Variable, dtype_policy, variable_path
from portrait_tf.config import parse_config, with_changes
from portrait_tf.data.dataset import training_dataset
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.runs.checkpoint import restore_checkpoint, save_checkpoint
from portrait_tf.runs.folder import STAGES, load_run_network
from portrait_tf.runs.storage import read_arrays, save_arrays
from portrait_tf.training import commands
from portrait_tf.training.commands import train_stage


def group(arrays, name):
    prefix = f"{name}/"
    return {
        k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)
    }


# Every round of refinement is a part of the graph that takes seconds to trace.
SMALL = with_changes(parse_config(TINY), ["parsing.network.rounds=0"])


def changed(stage, *changes):
    """The small config, keys of a stage's `training` changed."""
    return with_changes(SMALL, [f"{stage}.training.{change}" for change in changes])


TRAINED = STAGES[:2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, portraits):
    """Stages 1 and 2 with averages, in bfloat16, and the log of each."""
    run = tmp_path_factory.mktemp("runs") / "averaged"
    config = SMALL
    for stage in TRAINED:
        config = with_changes(
            config,
            [f"{stage}.training.ema=0.9", f"{stage}.training.mixed_precision=true"],
        )
    history = {
        stage: train_stage(stage, config, portraits, run, portraits, verbose=0)
        for stage in TRAINED
    }
    return run, config, history


class TestAverage:
    def test_it_is_the_moving_average_of_every_step(self, portraits):
        config = changed("parsing", "ema=0.3")
        trainer = trainer_of("parsing", config)
        data = iter(training_dataset(portraits, config, 2, 0, 4, 0))
        train_step = tf.function(trainer.train_step, autograph=False)
        expected = trainer.network.get_weights()
        # At first the bound of 1/10, 2/11, 3/12, and not the decay.
        for step, keep in ((0, 1 / 10), (1, 2 / 11), (2, 3 / 12), (1000, 0.3)):
            trainer.step = step
            train_step(next(data))
            expected = [
                keep * mean + (1 - keep) * weight
                for mean, weight in zip(
                    expected, trainer.network.get_weights(), strict=True
                )
            ]
        assert_equal_arrays(
            expected, trainer.averaged.get_weights(), rtol=1e-5, atol=1e-7
        )

    def test_what_is_not_trained_is_copied(self, portraits):
        config = changed("parsing", "ema=0.9")
        config = with_changes(config, ["parsing.network.backbone=mobilenet_v3_small"])
        trainer = trainer_of("parsing", config)
        statistics = trainer.network.non_trainable_variables
        assert statistics
        for variable in statistics:
            variable.assign(variable + 2)
        trainer.update_average()
        assert_equal_arrays(statistics, trainer.averaged.non_trainable_variables)

    def test_critics_alone_do_not_move_it(self, portraits):
        config = with_changes(
            changed("completion", "ema=0.9"),
            ["completion.schedule.reconstruction_steps=0"],
        )
        trainer = trainer_of("completion", config)
        assert trainer.phase == "critics"
        before = trainer.averaged.get_weights()
        batch = first_batch(config, portraits, 2)
        logs = tf.function(trainer.train_step, autograph=False)(batch)
        assert not any(float(logs[name]) for name in ("loss", "l1_hole", "gradient"))
        assert float(logs["critic"]) > 0 and float(logs["critics_gradient"]) > 0
        assert_equal_arrays(before, trainer.averaged.get_weights())

    def test_validation_runs_it(self, portraits):
        config = changed("parsing", "ema=0.9")
        trainer = trainer_of("parsing", config)
        data = training_dataset(portraits, config, 2, 0, 2, 0)
        trained = trainer.network
        before = trainer.evaluate(data, verbose=0, return_dict=True)
        for variable in trained.weights:
            variable.assign(variable * 0)
        # Sums on several threads differ in their last bits from call to call.
        same = trainer.evaluate(data, verbose=0, return_dict=True)
        assert same == pytest.approx(before, rel=1e-5)
        for variable in trainer.averaged.weights:
            variable.assign(variable * 0)
        after = trainer.evaluate(data, verbose=0, return_dict=True)
        assert after["loss"] != before["loss"]
        assert trainer.network is trained

    @pytest.mark.parametrize("stage", TRAINED)
    @pytest.mark.long
    def test_it_is_what_a_run_is_read_as(self, stage, runs):
        run, config, _ = runs
        arrays, _ = arrays_of(run, stage)
        averaged, trained = group(arrays, "averaged"), group(arrays, "network")
        assert averaged.keys() == trained.keys()
        differ = [
            name
            for name in trained
            if not np.array_equal(trained[name], averaged[name])
        ]
        assert differ
        network = load_run_network(run, stage)
        for variable in network.weights:
            np.testing.assert_array_equal(variable, averaged[variable_path(variable)])

    def test_a_run_gets_it_late_and_loses_it_again(self, tmp_path):
        plain = trainer_of("parsing", SMALL)
        plain.step = 7
        save_checkpoint(plain, tmp_path / "plain.npz")
        with_average = trainer_of("parsing", changed("parsing", "ema=0.9"))
        for variable in with_average.network.weights:
            variable.assign(variable + 1)
        assert restore_checkpoint(with_average, tmp_path / "plain.npz") == 7
        assert_equal_arrays(plain.network.weights, with_average.averaged.weights)
        save_checkpoint(with_average, tmp_path / "averaged.npz")
        assert restore_checkpoint(plain, tmp_path / "averaged.npz") == 7
        save_checkpoint(plain, tmp_path / "plain.npz")
        assert not group(read_arrays(tmp_path / "plain.npz")[0], "averaged")


class TestMixedPrecision:
    @pytest.mark.parametrize("stage", TRAINED)
    @pytest.mark.long
    def test_training_is_finite_and_files_are_float32(self, stage, runs):
        run, _, history = runs
        for row in history[stage]:
            assert all(np.isfinite(value) for value in row.values())
        arrays, _ = arrays_of(run, stage)
        found = {
            array.dtype for name, array in arrays.items() if "iteration" not in name
        }
        assert found <= {np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.int64)}

    @pytest.mark.parametrize("stage", STAGES)
    def test_it_is_of_the_trained_network_alone(self, stage):
        before = dtype_policy().name
        trainer = trainer_of(stage, changed(stage, "mixed_precision=true"))
        assert dtype_policy().name == before == "float32"
        policies = {layer.dtype_policy.name for layer in trainer.network.layers}
        assert "mixed_bfloat16" in policies
        others = [trainer.answering_network, *list(trainer.networks.values())[1:]]
        for network in others:
            assert {layer.compute_dtype for layer in network.layers} == {"float32"}

    def test_without_an_average_the_float32_twin_has_the_weights(self, portraits):
        trainer = trainer_of("parsing", changed("parsing", "mixed_precision=true"))
        batch = first_batch(SMALL, portraits, 2)
        tf.function(trainer.train_step, autograph=False)(batch)
        assert_equal_arrays(trainer.network.weights, trainer.averaged.weights)
        assert "averaged" not in trainer.state() and trainer.ema is None


class TestGuard:
    @pytest.mark.long
    def test_a_blow_up_leaves_the_last_checkpoint(self, runs, portraits, tmp_path):
        run, config, _ = runs
        shutil.copytree(run, tmp_path / "run")
        path = tmp_path / "run" / "parsing" / "checkpoint.npz"
        config = with_changes(
            config, ["parsing.training.steps=50",
                     "parsing.training.steps_per_epoch=50",
                     "parsing.training.optimizer.learning_rate=1e30"]
        )  # fmt: skip
        before = path.read_bytes()
        with pytest.raises(PortraitError) as caught:
            train_stage("parsing", config, portraits, tmp_path / "run", verbose=0)
        message = str(caught.value)
        assert re.search(r": (cross_entropy|pose_loss) is (nan|inf)", message)
        assert not re.search(r"[:,] (loss|gradient) is", message)
        assert f"{path} is still that of step 4" in message
        # Weights of 1e30 give no finite answer: the step after the first finds it.
        assert any(f"stopped at step {step}:" in message for step in (5, 6, 7))
        assert path.read_bytes() == before

    # A weight that float32 does not hold.
    @pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
    @pytest.mark.long
    def test_the_term_that_is_wrong_is_named(self, runs, portraits, tmp_path):
        config = with_changes(
            SMALL, ["completion.perceptual.layers={block1_conv2: 1e39}"]
        )
        with pytest.raises(PortraitError) as caught:
            train_stage(
                "completion",
                config,
                portraits,
                tmp_path,
                verbose=0,
                earlier={"parsing": runs[0]},
            )
        message = str(caught.value)
        # Neither the other terms, nor the sum that it has spoilt.
        assert message.startswith("training stopped at step 1: perceptual is inf; ")
        assert "there is no checkpoint yet" in message
        assert not (tmp_path / "completion" / "checkpoint.npz").exists()

    def test_weights_that_are_not_finite_are_not_written(self, tmp_path):
        path = tmp_path / "checkpoint.npz"
        trainer = trainer_of("parsing", SMALL)
        save_checkpoint(trainer, path)
        before = path.read_bytes()
        variable = trainer.network.weights[3]
        variable.assign(variable * np.nan)
        with pytest.raises(PortraitError, match=f"finite.*{variable_path(variable)}"):
            save_checkpoint(trainer, path)
        assert path.read_bytes() == before

    def test_half_precision_that_overflows_is_not_written(self, tmp_path):
        large = {"network": [Variable([1e6], name="large")]}
        save_arrays(tmp_path / "a.npz", large, {})
        with (
            pytest.warns(RuntimeWarning, match="overflow"),
            pytest.raises(PortraitError, match="finite.*large"),
        ):
            save_arrays(tmp_path / "b.npz", large, {}, "float16")
        assert not (tmp_path / "b.npz").exists()


class TestClipping:
    """`clip_norm` of either optimizer of stage 2; the recorded norm is unclipped."""

    def test_the_network_moves_no_further(self, portraits):
        config = with_changes(
            changed("completion", "optimizer.name=sgd", "optimizer.warmup_steps=0",
                    "optimizer.learning_rate=1", "optimizer.clip_norm=0.001"),
            ["completion.discriminator_optimizer.clip_norm=0.25"],
        )  # fmt: skip
        trainer = trainer_of("completion", config)
        assert trainer.critic_optimizer.global_clipnorm == 0.25
        before = trainer.network.get_weights()
        batch = first_batch(config, portraits, 2)
        logs = tf.function(trainer.train_step, autograph=False)(batch)
        moved = tf.linalg.global_norm(
            [
                one - two
                for one, two in zip(before, trainer.network.get_weights(), strict=True)
            ]
        )
        assert float(moved) == pytest.approx(0.001, rel=1e-3)
        assert float(logs["gradient"]) > 0.01


class TestBest:
    @pytest.mark.long
    def test_each_stage_has_its_best_epoch(self, runs):
        run, _, history = runs
        expected = {
            # Steps of the epochs, and what a phase's epochs begin with.
            "parsing": ("val_miou_hole", (2, 4), 0),
            "completion": ("val_psnr_hole", (2, 3, 4, 5), 2),
        }
        for stage, (monitor, steps, first) in expected.items():
            arrays, meta = arrays_of(run, stage, "best.npz")
            values = [row[monitor] for row in history[stage]]
            best = max(values[first:])
            assert meta["monitor"] == monitor
            assert meta["value"] == pytest.approx(best)
            assert meta["step"] == steps[first + values[first:].index(best)]
            assert {name.split("/")[0] for name in arrays} == {"network"}

    @pytest.mark.long
    def test_it_is_read_on_demand(self, runs, portraits):
        run, _, _ = runs
        best = load_run_network(run, "parsing", "best")
        arrays = group(arrays_of(run, "parsing", "best.npz")[0], "network")
        for variable in best.weights:
            np.testing.assert_array_equal(variable, arrays[variable_path(variable)])
        pipeline = Pipeline.from_run(run, "best")
        for one, two in zip(
            pipeline.parsing_network.weights, best.weights, strict=True
        ):
            np.testing.assert_array_equal(one, two)

    def test_an_unknown_monitor(self, portraits, tmp_path):
        config = changed("parsing", "monitor=val_iou", "steps_per_epoch=1")
        with pytest.raises(PortraitError) as caught:
            train_stage("parsing", config, portraits, tmp_path, portraits, verbose=0)
        message = str(caught.value)
        assert "nothing called 'val_iou' is logged; expected one of loss," in message
        assert "val_miou_hole" in message
        assert not (tmp_path / "parsing" / "checkpoint.npz").exists()


class TestTensorBoard:
    @pytest.mark.long
    def test_curves_and_pictures(self, runs):
        accumulator = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator"
        )
        run, _, history = runs
        folder = run / "completion" / "tensorboard"
        found = {}
        for name in ("train", "validation", "previews"):
            found[name] = accumulator.EventAccumulator(str(folder / name)).Reload()
        for name, key in (("train", "l1_hole"), ("validation", "val_l1_hole")):
            points = found[name].Tensors("epoch_l1_hole")
            values = [float(tf.make_ndarray(one.tensor_proto)) for one in points]
            assert values == pytest.approx([row[key] for row in history["completion"]])
        tags = found["train"].Tags()["tensors"]
        assert {"epoch_gradient", "epoch_psnr_hole", "epoch_learning_rate"} <= set(tags)
        picture = tf.make_ndarray(found["previews"].Tensors("preview")[-1].tensor_proto)
        drawn = cv2.imread(str(run / "completion" / "preview.png"))
        shown = cv2.imdecode(np.frombuffer(picture[2], np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(shown, drawn)

    @pytest.mark.parametrize("installed", [True, False])
    def test_it_can_be_switched_off_or_missing(
        self, installed, portraits, tmp_path, monkeypatch
    ):
        """Also another monitor, the lowest of a term, and none."""
        config = changed(
            "parsing", f"tensorboard={not installed}", "steps=2", "steps_per_epoch=1",
            "monitor=loss" if installed else "monitor=''",
        )  # fmt: skip
        if not installed:
            find = importlib.util.find_spec
            monkeypatch.setattr(
                importlib.util, "find_spec",
                lambda name: None if name == "tensorboard" else find(name),
            )  # fmt: skip
        history = train_stage("parsing", config, portraits, tmp_path, verbose=0)
        assert not (tmp_path / "parsing" / "tensorboard").exists()
        if installed:
            _, meta = arrays_of(tmp_path, "parsing", "best.npz")
            assert meta["value"] == pytest.approx(min(row["loss"] for row in history))
        else:
            with pytest.raises(PortraitError, match="best.npz, found none.*parsing"):
                load_run_network(tmp_path, "parsing", "best")


class TestCommandLine:
    @pytest.mark.long
    def test_more_steps_of_a_finished_stage(self, runs, portraits, tmp_path):
        """A worse epoch replaces no better one; in the end, in float32."""
        folder = shutil.copytree(runs[0], tmp_path / "run")
        write_synthetic(tmp_path / "data", 4, 2, 0, (64, 64))
        path = folder / "parsing" / "best.npz"
        _, meta = read_arrays(path)
        variables = load_run_network(folder, "parsing", "best").weights

        def train_to(steps):
            code, output = run(
                "train", "parsing", "--config", runs[0] / "parsing" / "config.yaml",
                "--data", tmp_path / "data", "--run", folder, "--steps", steps,
            )  # fmt: skip
            assert code == 0, output

        def train_in_float32(steps):
            changes = ["mixed_precision=false", f"steps={steps}"]
            config = [f"parsing.training.{change}" for change in changes]
            config = with_changes(runs[1], config)
            (row,) = train_stage(
                "parsing", config, portraits, folder, portraits, verbose=0
            )
            assert np.isfinite(row["loss"])

        for value, train, steps in ((1.0, train_to, 6), (-1.0, train_in_float32, 8)):
            save_arrays(path, {"network": variables}, {**meta, "value": value})
            before = path.read_bytes()
            train(steps)
            assert (path.read_bytes() != before) == (value < 0)
            arrays, now = arrays_of(folder, "parsing")
            assert now["step"] == steps
            assert [
                int(array)
                for key, array in arrays.items()
                if key.startswith("optimizer/") and key.endswith("iteration")
            ] == [steps]
        assert read_arrays(path)[1]["step"] == 8
        assert len((folder / "parsing" / "log.csv").read_text().splitlines()) == 5

    @pytest.mark.long
    def test_weights_and_scores_of_the_best(self, runs, tmp_path):
        folder = shutil.copytree(runs[0], tmp_path / "run")
        write_synthetic(tmp_path / "data", 0, 1, 0, (64, 64))
        checkpoint = ["--checkpoint", "best"]
        code, output = run("weights", folder, tmp_path, *checkpoint)
        assert code == 0, output
        for stage in TRAINED:
            expected = arrays_of(folder, stage, "best.npz")[0]
            written, _ = read_arrays(tmp_path / f"{stage}_tiny.npz")
            half = {name: array.astype(np.float16) for name, array in expected.items()}
            assert_equal_arrays(half, written)
        scores = tmp_path / "scores.json"
        data = ["--data", tmp_path / "data", "--run", folder, "--json", scores]
        assert run("evaluate", "parsing", *data, *checkpoint)[0] == 0
        assert json.loads(scores.read_text())["setup"]["checkpoint"] == "best"
        (folder / "parsing" / "best.npz").unlink()
        for command in (
            ["evaluate", "parsing", *data],
            ["evaluate", *data],
            ["export", folder, tmp_path / "models"],
        ):
            code, output = run(*command, *checkpoint)
            assert code == 2 and "best.npz, found none" in output

    def test_the_best_needs_a_run(self, tmp_path):
        write_synthetic(tmp_path / "data", 0, 1, 0, (64, 64))
        data = ["--data", tmp_path / "data"]
        for command in (
            ["evaluate", *data],
            ["evaluate", "parsing", *data],
            ["export", "bundled", tmp_path / "models"],
        ):
            code, output = run(*command, "--checkpoint", "best")
            assert code == 2 and "expected a trained run for" in output


def test_a_second_training_in_a_folder_waits_for_the_first(tmp_path, caplog):
    entered = []

    def train_there():
        with commands._alone(tmp_path / "parsing"):
            entered.append(True)

    second = threading.Thread(target=train_there, daemon=True)
    with commands._alone(tmp_path / "parsing"):
        second.start()
        deadline = time.monotonic() + 30
        while "waiting until another" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not entered
    second.join(30)
    assert entered


@pytest.mark.parametrize(
    ("flags", "warned"), [("fpu avx avx2", True), ("fpu avx512_bf16", False)]
)
def test_bfloat16_without_its_instructions_warns(tmp_path, caplog, flags, warned):
    path = tmp_path / "cpuinfo"
    path.write_text(f"model name: a CPU\nflags\t: {flags}\n")
    commands._warn_of_slow_bfloat16(str(path))
    commands._warn_of_slow_bfloat16(str(tmp_path / "none"))
    assert ("no instructions for bfloat16" in caplog.text) == warned
