"""What trainers do beside training: averages, guard, best weights, curves."""

import json
import pathlib
import re
import shutil

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import TINY
from typer.testing import CliRunner

from portrait_tf.apps import cli
from portrait_tf.compat import Variable, dtype_policy, variable_path
from portrait_tf.config import parse_config, with_changes
from portrait_tf.data.dataset import training_dataset
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.errors import PortraitError
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.runs.checkpoint import restore_checkpoint, save_checkpoint
from portrait_tf.runs.folder import STAGES, build_network, load_run_network
from portrait_tf.runs.storage import read_arrays, save_arrays
from portrait_tf.training.commands import train_stage
from portrait_tf.training.completion import CompletionTrainer
from portrait_tf.training.face import FaceTrainer
from portrait_tf.training.parsing import ParsingTrainer


def arrays_of(run, stage, name="checkpoint.npz"):
    return read_arrays(pathlib.Path(run) / stage / name)


def group(arrays, name):
    prefix = f"{name}/"
    return {
        k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)
    }


def changed(stage, *changes):
    """The tiny config, keys of a stage's `training` changed."""
    return with_changes(
        parse_config(TINY), [f"{stage}.training.{change}" for change in changes]
    )


def prepared_trainer(stage, config):
    """A trainer as `train_stage` has it, compiled."""
    keras.utils.set_random_seed(0)
    network = build_network(stage, config, training=True)
    earlier = [build_network(name, config) for name in STAGES[: STAGES.index(stage)]]
    trainers = (ParsingTrainer, CompletionTrainer, FaceTrainer)
    trainer = trainers[len(earlier)](network, *earlier, config)
    trainer.compile(jit_compile=False)
    return trainer


@pytest.fixture(scope="module")
def runs(tmp_path_factory, portraits):
    """Both stages with averages, in bfloat16, and the log of each."""
    run = tmp_path_factory.mktemp("runs") / "averaged"
    config = parse_config(TINY)
    for stage in STAGES:
        config = with_changes(
            config,
            [f"{stage}.training.ema=0.9", f"{stage}.training.mixed_precision=true"],
        )
    history = {
        stage: train_stage(stage, config, portraits, run, portraits, verbose=0)
        for stage in STAGES
    }
    return run, config, history


class TestAverage:
    @pytest.mark.parametrize(
        "stage",
        [
            "parsing",
            pytest.param("completion", marks=pytest.mark.long),
            pytest.param("face", marks=pytest.mark.long),
        ],
    )
    def test_it_is_the_moving_average_of_every_step(self, stage, portraits):
        config = with_changes(
            changed(stage, "ema=0.3"),
            [f"{name}.schedule.reconstruction_steps=3" for name in STAGES[1:]],
        )
        trainer = prepared_trainer(stage, config)
        data = iter(training_dataset(portraits, config, 2, 0, 3, 0))
        train_step = tf.function(trainer.train_step)
        expected = trainer.network.get_weights()
        for step in range(3):
            train_step(next(data))
            # At first the bound of 1/10, 2/11, 3/12, and not the decay.
            keep = min(0.3, (1 + step) / (10 + step))
            expected = [
                keep * mean + (1 - keep) * weight
                for mean, weight in zip(
                    expected, trainer.network.get_weights(), strict=True
                )
            ]
        for one, two in zip(expected, trainer.averaged.get_weights(), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)

    def test_the_decay_is_the_configs_after_some_steps(self, portraits):
        trainer = prepared_trainer("parsing", changed("parsing", "ema=0.3"))
        trainer.step = 1000
        before = trainer.averaged.get_weights()
        batch = next(iter(training_dataset(portraits, trainer.config, 2, 0, 1, 0)))
        tf.function(trainer.train_step)(batch)
        for mean, first, weight in zip(
            trainer.averaged.get_weights(),
            before,
            trainer.network.get_weights(),
            strict=True,
        ):
            np.testing.assert_allclose(
                mean, 0.3 * first + 0.7 * weight, rtol=1e-5, atol=1e-7
            )

    def test_what_is_not_trained_is_copied(self, portraits):
        config = changed("parsing", "ema=0.9")
        config = with_changes(config, ["parsing.network.backbone=mobilenet_v3_small"])
        trainer = prepared_trainer("parsing", config)
        statistics = trainer.network.non_trainable_variables
        assert statistics
        for variable in statistics:
            variable.assign(variable + 2)
        trainer._average()
        for one, two in zip(
            statistics, trainer.averaged.non_trainable_variables, strict=True
        ):
            np.testing.assert_array_equal(one, two)

    def test_critics_alone_do_not_move_it(self, portraits):
        config = with_changes(
            changed("completion", "ema=0.9"),
            ["completion.schedule.reconstruction_steps=0"],
        )
        trainer = prepared_trainer("completion", config)
        assert trainer.phase == "critics"
        before = trainer.averaged.get_weights()
        batch = next(iter(training_dataset(portraits, config, 2, 0, 1, 0)))
        tf.function(trainer.train_step)(batch)
        assert set(trainer.latest_values()) == {
            "critic",
            "critic_local",
            "critics_gradient",
        }
        for one, two in zip(before, trainer.averaged.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)

    def test_validation_runs_it(self, portraits):
        config = changed("parsing", "ema=0.9")
        trainer = prepared_trainer("parsing", config)
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

    @pytest.mark.parametrize("stage", STAGES)
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
        plain = prepared_trainer("parsing", parse_config(TINY))
        plain.step = 7
        save_checkpoint(plain, tmp_path / "plain.npz")
        with_average = prepared_trainer("parsing", changed("parsing", "ema=0.9"))
        for variable in with_average.network.weights:
            variable.assign(variable + 1)
        assert restore_checkpoint(with_average, tmp_path / "plain.npz") == 7
        for one, two in zip(
            plain.network.weights, with_average.averaged.weights, strict=True
        ):
            np.testing.assert_array_equal(one, two)
        save_checkpoint(with_average, tmp_path / "averaged.npz")
        assert restore_checkpoint(plain, tmp_path / "averaged.npz") == 7
        save_checkpoint(plain, tmp_path / "plain.npz")
        assert not group(read_arrays(tmp_path / "plain.npz")[0], "averaged")


class TestMixedPrecision:
    @pytest.mark.parametrize("stage", STAGES)
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
        trainer = prepared_trainer(stage, changed(stage, "mixed_precision=true"))
        assert dtype_policy().name == before == "float32"
        policies = {layer.dtype_policy.name for layer in trainer.network.layers}
        assert "mixed_bfloat16" in policies
        others = [trainer.answering_network, *list(trainer.networks.values())[1:]]
        for network in others:
            assert {layer.compute_dtype for layer in network.layers} == {"float32"}

    def test_without_an_average_the_float32_twin_has_the_weights(self, portraits):
        trainer = prepared_trainer(
            "parsing", changed("parsing", "mixed_precision=true")
        )
        batch = next(iter(training_dataset(portraits, trainer.config, 2, 0, 1, 0)))
        tf.function(trainer.train_step)(batch)
        for one, two in zip(
            trainer.network.weights, trainer.averaged.weights, strict=True
        ):
            np.testing.assert_array_equal(one, two)
        assert trainer.averaged_state() == {}

    @pytest.mark.long
    def test_a_run_goes_on_in_float32(self, runs, portraits, tmp_path):
        run, config, _ = runs
        shutil.copytree(run, tmp_path / "run")
        config = with_changes(
            config, ["parsing.training.mixed_precision=false",
                     "parsing.training.steps=5"]
        )  # fmt: skip
        history = train_stage("parsing", config, portraits, tmp_path / "run", verbose=0)
        assert len(history) == 1 and np.isfinite(history[0]["loss"])
        assert arrays_of(tmp_path / "run", "parsing")[1]["step"] == 5


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
            parse_config(TINY), ["completion.perceptual.layers={block1_conv2: 1e39}"]
        )
        with pytest.raises(PortraitError) as caught:
            train_stage(
                "completion", config, portraits, tmp_path, None, runs[0], verbose=0
            )
        message = str(caught.value)
        # Neither the other terms, nor the sum that it has spoilt.
        assert message.startswith("training stopped at step 1: perceptual is inf; ")
        assert "there is no checkpoint yet" in message
        assert not (tmp_path / "completion" / "checkpoint.npz").exists()

    def test_weights_that_are_not_finite_are_not_written(self, tmp_path):
        path = tmp_path / "checkpoint.npz"
        trainer = prepared_trainer("parsing", parse_config(TINY))
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
        trainer = prepared_trainer("completion", config)
        assert trainer.critic_optimizer.global_clipnorm == 0.25
        before = trainer.network.get_weights()
        batch = next(iter(training_dataset(portraits, config, 2, 0, 1, 0)))
        tf.function(trainer.train_step)(batch)
        moved = tf.linalg.global_norm(
            [
                one - two
                for one, two in zip(before, trainer.network.get_weights(), strict=True)
            ]
        )
        assert float(moved) == pytest.approx(0.001, rel=1e-3)
        assert trainer.latest_values()["gradient"] > 0.01


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

    @pytest.mark.long
    def test_its_value_survives_a_resume(self, runs, portraits, tmp_path):
        """However it is monitored, a worse epoch replaces no better one."""
        run, config, history = runs
        shutil.copytree(run, tmp_path / "run")
        path = tmp_path / "run" / "parsing" / "best.npz"
        _, meta = read_arrays(path)
        variables = load_run_network(run, "parsing", "best").weights
        for value, replaced in ((1.0, False), (-1.0, True)):
            save_arrays(path, {"network": variables}, {**meta, "value": value})
            before = path.read_bytes()
            steps = 6 if value == 1.0 else 8
            train_stage(
                "parsing",
                with_changes(config, [f"parsing.training.steps={steps}"]),
                portraits, tmp_path / "run", portraits, verbose=0,
            )  # fmt: skip
            assert (path.read_bytes() != before) == replaced
        assert read_arrays(path)[1]["step"] == 8

    @pytest.mark.parametrize("validated", [True, False])
    def test_an_unknown_monitor(self, validated, portraits, tmp_path):
        config = changed("parsing", "monitor=val_iou")
        with pytest.raises(PortraitError) as caught:
            train_stage(
                "parsing", config, portraits, tmp_path,
                portraits if validated else None, verbose=0,
            )  # fmt: skip
        message = str(caught.value)
        assert "nothing called 'val_iou' is logged; expected one of loss," in message
        assert ("val_miou_hole" in message) == validated
        assert not (tmp_path / "parsing" / "checkpoint.npz").exists()

    @pytest.mark.long
    def test_the_lowest_of_a_term_and_nothing_without_a_monitor(
        self, portraits, tmp_path
    ):
        config = changed("parsing", "monitor=loss", "steps=6")
        history = train_stage(
            "parsing", config, portraits, tmp_path / "loss", verbose=0
        )
        _, meta = arrays_of(tmp_path / "loss", "parsing", "best.npz")
        assert meta["value"] == pytest.approx(min(row["loss"] for row in history))
        config = changed("parsing", "monitor=''", "steps=2")
        train_stage("parsing", config, portraits, tmp_path / "n", portraits, verbose=0)
        assert not (tmp_path / "n" / "parsing" / "best.npz").exists()
        with pytest.raises(PortraitError, match="best.npz, found none.*parsing"):
            load_run_network(tmp_path / "n", "parsing", "best")


class TestTensorBoard:
    @pytest.mark.long
    def test_curves_and_pictures_of_a_run_that_was_resumed(self, portraits, tmp_path):
        accumulator = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator"
        )
        config = changed("parsing", "steps=24", "steps_per_epoch=12")
        run = tmp_path / "run"
        whole = train_stage("parsing", config, portraits, run, portraits, verbose=0)
        folder = run / "parsing" / "tensorboard"
        # As if the run had been killed after an epoch that its checkpoint has not.
        shutil.copytree(folder, tmp_path / "killed")
        shutil.rmtree(run)
        half = with_changes(config, ["parsing.training.steps=12"])
        history = train_stage("parsing", half, portraits, run, portraits, verbose=0)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "killed", folder)
        history += train_stage("parsing", config, portraits, run, portraits, verbose=0)

        curves = {}
        for name in ("train", "validation"):
            curves[name] = accumulator.EventAccumulator(str(folder / name))
            curves[name].Reload()
        train, validation = curves["train"], curves["validation"]
        terms = ["loss", "cross_entropy", "pose_loss"]
        assert set(train.Tags()["scalars"]) == {
            *terms, "gradient", "learning_rate/parsing_optimizer",
            "miou", "miou_hole", "pckh",
        }  # fmt: skip
        for name in (*terms, "gradient"):
            assert [point.step for point in train.Scalars(name)] == [10, 12, 20, 24]
        assert [point.step for point in train.Scalars("miou")] == [12, 24]
        ten, two = (point.value for point in train.Scalars("loss")[:2])
        assert (10 * ten + 2 * two) / 12 == pytest.approx(whole[0]["loss"], rel=1e-4)
        assert set(validation.Tags()["scalars"]) == {
            *terms,
            "miou",
            "miou_hole",
            "pckh",
        }
        found = [(point.step, point.value) for point in validation.Scalars("loss")]
        assert [step for step, _ in found] == [12, 24]
        assert [value for _, value in found] == pytest.approx(
            [whole[0]["val_loss"], history[1]["val_loss"]]
        )
        pictures = train.Images("preview")
        assert [picture.step for picture in pictures] == [12, 24]
        drawn = cv2.imread(str(run / "parsing" / "preview.png"))
        written = cv2.imdecode(
            np.frombuffer(pictures[-1].encoded_image_string, np.uint8), cv2.IMREAD_COLOR
        )
        assert written.shape == drawn.shape
        assert np.abs(written.astype(int) - drawn).mean() < 8

    def test_it_can_be_switched_off(self, portraits, tmp_path):
        config = changed("parsing", "tensorboard=false", "steps=2")
        train_stage("parsing", config, portraits, tmp_path, verbose=0)
        assert not (tmp_path / "parsing" / "tensorboard").exists()

    @pytest.mark.long
    def test_tensorflow_reads_it_too(self, runs):
        run, _, history = runs
        files = sorted((run / "completion" / "tensorboard" / "validation").iterdir())
        events = [
            event
            for file in files
            for event in tf.compat.v1.train.summary_iterator(str(file))
        ]
        assert events[0].file_version == "brain.Event:2"
        found = {
            event.step: value.simple_value
            for event in events
            for value in event.summary.value
            if value.tag == "l1_hole"
        }
        expected = [row["val_l1_hole"] for row in history["completion"]]
        assert list(found) == [2, 3, 4, 5]
        assert list(found.values()) == pytest.approx(expected)


class TestCommandLine:
    def run(self, *arguments):
        result = CliRunner().invoke(cli.app, [str(one) for one in arguments])
        if isinstance(result.exception, PortraitError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    @pytest.mark.long
    def test_more_steps_of_finished_stages(self, runs, tmp_path):
        run = shutil.copytree(runs[0], tmp_path / "run")
        write_synthetic(tmp_path / "data", 4, 2, 0, (64, 64))
        for stage, steps in (("parsing", 6), ("completion", 7)):
            self.run(
                "train", stage, "--config", runs[0] / stage / "config.yaml",
                "--data", tmp_path / "data", "--run", run, "--steps", steps,
            )  # fmt: skip
            arrays, meta = arrays_of(run, stage)
            assert meta["step"] == steps
            name = "optimizer" if stage == "parsing" else "network_optimizer"
            iterations = [
                int(array)
                for key, array in arrays.items()
                if key.startswith(f"{name}/") and key.endswith("iteration")
            ]
            # The critics' step alone was none of the network's.
            assert iterations == [steps - (stage == "completion")]
            assert len((run / stage / "log.csv").read_text().splitlines()) > 3

    @pytest.mark.long
    def test_weights_and_scores_of_the_best(self, runs, tmp_path):
        run = shutil.copytree(runs[0], tmp_path / "run")
        write_synthetic(tmp_path / "data", 0, 1, 0, (64, 64))
        checkpoint = ["--checkpoint", "best"]
        self.run("weights", run, tmp_path, *checkpoint)
        for stage in STAGES:
            expected = arrays_of(run, stage, "best.npz")[0]
            written, _ = read_arrays(tmp_path / f"{stage}_tiny.npz")
            for name, array in expected.items():
                np.testing.assert_array_equal(written[name], array.astype(np.float16))
        scores = tmp_path / "scores.json"
        data = ["--data", tmp_path / "data", "--run", run, "--json", scores]
        self.run("evaluate", "parsing", *data, *checkpoint)
        assert json.loads(scores.read_text())["setup"]["checkpoint"] == "best"
        (run / "parsing" / "best.npz").unlink()
        for command in (
            ["evaluate", "parsing", *data],
            ["evaluate", *data],
            ["export", run, tmp_path / "models"],
        ):
            with pytest.raises(PortraitError, match=r"best\.npz, found none"):
                self.run(*command, *checkpoint)

    def test_the_best_needs_a_run(self, tmp_path):
        write_synthetic(tmp_path / "data", 0, 1, 0, (64, 64))
        data = ["--data", tmp_path / "data"]
        for command in (
            ["evaluate", *data],
            ["evaluate", "parsing", *data],
            ["export", "bundled", tmp_path / "models"],
        ):
            with pytest.raises(PortraitError, match="expected a trained run for"):
                self.run(*command, "--checkpoint", "best")
