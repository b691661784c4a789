"""Comparisons of tiny networks at 32x32, on synthetic people in LIP's layout."""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
import scipy.linalg
import yaml
from command_line import run as run_command
from tiny import TINY, assert_equal_arrays, stopped_at

from portrait_tf.config import Config
from portrait_tf.data.open import open_dataset
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.evaluation.classical import available
from portrait_tf.evaluation.compare import check_networks
from portrait_tf.evaluation.compare_cases import cases
from portrait_tf.evaluation.compare_config import load_plan, within_budget
from portrait_tf.evaluation.features import FeatureDistance, frechet_distance
from portrait_tf.evaluation.summary import compare_pair
from portrait_tf.models.parsing import find_structure
from portrait_tf.photos import read_hole, read_photo, write_png
from portrait_tf.runs.storage import read_arrays, read_meta
from portrait_tf.runs.weights import at_size

# One phase and no VGG: each of the others is a graph that takes seconds to trace.
BASE = {
    **TINY,
    "parsing": {
        **TINY["parsing"],
        "network": {**TINY["parsing"]["network"], "rounds": 1},
    },
    "completion": {
        **TINY["completion"],
        "training": {**TINY["completion"]["training"], "tensorboard": False},
        "schedule": {"reconstruction_steps": 5, "critic_steps": 0},
        "loss": {"perceptual": 0},
    },
}
COMPARE = {
    "base": BASE,
    "steps": 4,
    "photos": 3,
    "tasks": ["square", "lower_third"],
    "timed_photos": 1,
    "stage_1": {"source": "train", "steps": 2},
    "features": {
        "network": "vgg16",
        "weights": "random",
        "layers": ["block1_conv2"],
        "frechet_layer": "block1_conv1",
    },
    "methods": {
        "ours": None,
        "true_map": {"parsing": "truth"},
        "plain": {"config": "plain.yaml", "set": ["completion.loss.known=2"]},
    },
    "classical": ["telea", "fsr"],
}
PLAIN = {"completion": {"network": {"prefill": "plain"}}}


def write_config(folder, **changes):
    (folder / "plain.yaml").write_text(yaml.safe_dump(PLAIN))
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump({**COMPARE, **changes}, sort_keys=False))
    return path


def run(*arguments):
    return run_command("compare", *arguments)


@pytest.fixture(scope="module")
def done(tmp_path_factory, data):
    """A comparison that was stopped and went on: config, folder, what was printed."""
    folder = tmp_path_factory.mktemp("compare")
    config, out = write_config(folder), folder / "out"
    arguments = ("--config", config, "--data", data, "--out", out)
    with stopped_at(3, "CompletionTrainer"):
        assert run(*arguments)[0] == 130
    assert meta_of(out, "ours")["step"] == 3
    code, output = run(*arguments)
    assert code == 0, output
    return config, out, output


def meta_of(out, method):
    """What the checkpoint of a method's stage 2 says of itself."""
    return read_meta(out / f"methods/{method}/seed_0/completion/checkpoint.npz")


def report_of(out):
    return json.loads((out / "report.json").read_text())


def files_of(out):
    return {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.mark.long
def test_a_comparison_ends_in_tables_and_a_page(done, read_page):
    _, out, output = done
    report = report_of(out)
    methods = ["ours", "true_map", "plain", "telea"]
    assert list(report["methods"]) == methods + ["fsr"] * available("fsr")
    columns = ["psnr_hole", "ssim", "l1", "perceptual", "frechet"]
    assert list(report["scores"]) == columns
    assert report["scores"]["perceptual"]["name"] == "VGG-16 random distance"
    for name in methods:
        one = report["methods"][name]
        assert list(one["tasks"]) == ["square", "lower_third", "all"]
        for scores in one["tasks"].values():
            assert all(np.isfinite(scores[key]["mean"]) for key in columns)
        assert (one["seconds"] is None) == (name == "true_map")
    assert [report["methods"][n]["parsing"] for n in methods] == [
        "predicted", "truth", "predicted", None,
    ]  # fmt: skip
    assert set(report["pairs"]) == set(report["methods"]) - {"ours"}
    for task in ("square", "all"):
        by_score = report["order"][task]["l1"]
        values = [report["methods"][n]["tasks"][task]["l1"]["mean"] for n in by_score]
        assert values == sorted(values)
    for words in ("ours against the others", "Lower third", "VGG-16", "vs telea"):
        assert words in output
    left_out = set() if available("fsr") else {"fsr"}
    assert set(report["left_out"]) == left_out

    with open(out / "photos.csv") as file:
        rows = list(csv.DictReader(file))
    ours = [row for row in rows if row["method"] == "ours"]
    assert len(ours) == 3 * 2 and {row["seed"] for row in ours} == {"0"}
    mean = np.mean([float(r["l1"]) for r in ours if r["task"] == "square"])
    shown = report["methods"]["ours"]["tasks"]["square"]["l1"]["mean"]
    assert mean == pytest.approx(shown, rel=1e-4)

    text = (out / "report.html").read_text()
    # Two tasks, three photos, and input and truth beside every method.
    assert len(read_page(text).images) == 2 * 3 * (len(report["methods"]) + 2)
    assert 'src="http' not in text and "it is not LPIPS" in text


@pytest.mark.long
def test_every_network_has_the_budget_and_one_stage_1(done):
    _, out, _ = done
    runs = {name: out / "methods" / name / "seed_0" for name in ("ours", "plain")}
    stage_1 = [read_arrays(run / "parsing" / "network.npz")[0] for run in runs.values()]
    assert_equal_arrays(*stage_1)
    for name, folder in runs.items():
        meta = meta_of(out, name)
        assert meta["step"] == 4
        prefill = meta["networks"]["network"]["config"]["prefill"]
        assert prefill == {"ours": "none", "plain": "plain"}[name]
        config = yaml.safe_load((folder / "completion" / "config.yaml").read_text())
        config = config["completion"]
        assert config["loss"]["known"] == {"ours": 1, "plain": 2}[name]
        assert config["schedule"]["reconstruction_steps"] == 4


@pytest.mark.long
def test_what_is_trained_is_kept_and_pictures_from_outside_join(done, data, tmp_path):
    config, out, _ = done
    inputs = tmp_path / "inputs"
    code, output = run("--config", config, "--data", data, "--write-inputs", inputs)
    assert code == 0 and "6 inputs and masks" in output
    plan = load_plan(config)
    reader = open_dataset(data, "val")
    for case in (hole for holes in cases(plan, reader) for hole in holes):
        name = f"{case.task}/{case.name}.png"
        np.testing.assert_array_equal(
            read_hole(inputs / "masks" / name, case.mask.shape)[0], case.mask
        )
        given = read_photo(inputs / "inputs" / name)
        hole = case.mask > 0
        assert (given[hole] == 128).all()
        np.testing.assert_array_equal(given[~hole], case.photo[~hole])
        # A method that knows the answer, and spoils what was known.
        answer = np.where(hole[..., None], case.photo, np.uint8(0))
        write_png(tmp_path / "theirs" / name, answer)

    # A method may be added to a folder that is there.
    again = shutil.copytree(out, tmp_path / "out")
    shutil.rmtree(again / "methods" / "true_map" / "seed_0" / "completion")
    methods = {**COMPARE["methods"], "theirs": {"pictures": "theirs"}}
    config = write_config(tmp_path, methods=methods)
    arguments = ("--config", config, "--data", data, "--out", again)
    code, output = run(*arguments)
    assert code == 0, output
    report = report_of(again)
    for method in ("ours", "plain", "true_map"):
        path = f"methods/{method}/seed_0/completion/checkpoint.npz"
        same = (again / path).read_bytes() == (out / path).read_bytes()
        assert same or method == "true_map"
        before, now = (
            one["methods"][method]["tasks"]["all"]["l1"]["mean"]
            for one in (report_of(out), report)
        )
        assert before == pytest.approx(now, rel=1e-3)
    assert report["order"]["all"]["l1"][0] == "theirs"
    theirs = report["methods"]["theirs"]
    assert theirs["tasks"]["all"]["l1"]["mean"] == 0
    assert theirs["tasks"]["all"]["perceptual"]["mean"] == 0
    assert theirs["kind"] == "pictures"
    assert report["pairs"]["theirs"]["all"]["l1"]["verdict"] == "worse"

    # Without VGG weights two columns are left out, and it says so.
    plain = write_config(
        tmp_path, methods={"theirs": {"pictures": "theirs"}}, features={},
        stage_1={"source": str(out / "stage_1")},
    )  # fmt: skip
    code, output = run("--config", plain, "--data", data, "--out", tmp_path / "plain")
    assert code == 0, output
    report = report_of(tmp_path / "plain")
    assert set(report["scores"]) == {"psnr_hole", "ssim", "l1"}
    assert "perceptual and Fréchet distance" in report["left_out"]

    config = write_config(tmp_path, methods=methods)
    (tmp_path / "theirs" / name).unlink()
    code, output = run(*arguments)
    assert code == 2 and "expected a picture" in output and case.name in output
    write_png(tmp_path / "theirs" / name, case.photo[:16])
    code, output = run(*arguments)
    assert code == 2 and "expected a picture of 32x32" in output


class TestMistakes:
    """All of them before anything is trained."""

    def check(self, data, config, out, *parts):
        code, output = run("--config", config, "--data", data, "--out", out)
        assert code == 2, output
        for part in parts:
            assert part in output, output
        assert "\n" not in output

    @pytest.mark.long
    def test_another_config_in_the_same_folder(self, done, data, tmp_path):
        out = done[1]
        before = files_of(out)
        config = write_config(tmp_path, steps=5)
        self.check(data, config, out, "another 'steps' (4 there, 5 now)", "--out")
        methods = {**COMPARE["methods"], "plain": {"config": "plain.yaml"}}
        config = write_config(tmp_path, methods=methods)
        self.check(data, config, out, "'methods.plain.loss.known' (2.0 there")
        other = tmp_path / "lip"
        write_synthetic(other, 4, 3, seed=1, size=(64, 64))
        self.check(other, write_config(tmp_path), out, "another data set")
        assert before == files_of(out)

    @pytest.mark.parametrize(
        ("method", "parts"),
        [
            ({"config": "none.yaml"}, ["none.yaml: cannot read the method's config"]),
            ({"confg": "a"}, ["compare.yaml: methods.mine", "did you mean 'config'"]),
            ({"set": ["completion.x=1"]}, ["methods.mine", "'completion.x'"]),
            ({"set": ["size=[64, 64]"]}, ["methods.mine: changes 'size'"]),
            ({"set": ["masks.border=0"]}, ["methods.mine: changes 'masks'"]),
            ({"pictures": "none"}, ["expected a picture", "none/square/"]),
            ({"pictures": "a", "parsing": "none"}, ["methods.mine", "no other key"]),
            ({"parsing": "none"}, ["methods.mine.parsing", "takes a map"]),
            ({"set": ["completion.perceptual.weights=none.h5",
                      "completion.loss.perceptual=1"]},
             ["methods.mine", "no such file: none.h5"]),
        ],
    )  # fmt: skip
    def test_methods(self, data, tmp_path, method, parts):
        methods = {"ours": None, "mine": method}
        self.test_the_config(data, tmp_path, {"methods": methods}, parts)

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"step": 4}, ["unknown key 'step'", "'steps'"]),
            ({"methods": {"telea": None}}, ["name of a classical"]),
            ({"methods": {"our own": None}}, ["'our own'"]),
            ({"reference": "x"}, ["reference 'x'"]),
            ({"base": "none.yaml"}, ["none.yaml"]),
            ({"features": {"weights": "none.h5"}}, ["features.weights", "none.h5"]),
            ({"features": {"weights": "random", "layers": ["block9_conv1"]}},
             ["block9_conv1"]),
            ({"stage_1": {"source": "none"}}, ["trained stage 1", "none"]),
        ],
    )  # fmt: skip
    def test_the_config(self, data, tmp_path, changes, parts):
        out = tmp_path / "out"
        self.check(data, write_config(tmp_path, **changes), out, *parts)
        assert not out.exists()

    def test_the_command(self, data, tmp_path):
        self.test_the_config(
            tmp_path / "lip", tmp_path, {}, ["expected a data set's folder"]
        )
        arguments = "--config", write_config(tmp_path), "--data", data
        code, output = run(*arguments)
        assert code == 2 and "--write-inputs" in output
        code, output = run(*arguments, "--out", tmp_path / "out", "--set", "step=3")
        assert code == 2 and "--set: unknown key 'step'" in output


def test_changes_of_the_command_line_and_paths(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(TINY))
    config = write_config(tmp_path, base="base.yaml", set=["completion.loss.hole=3"])
    plan = load_plan(config, ["steps=9", "size=[48, 32]", "seeds=[2, 3]"])
    assert plan.base.size == (48, 32) and plan.base.seed == 2
    assert plan.networks["ours"].completion.training.steps == 9
    assert plan.networks["plain"].completion.loss.hole == 3
    assert plan.networks["plain"].completion.network.prefill == "plain"
    assert plan.reference == "ours"


CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def test_the_comparison_that_is_shipped_is_one_of_equals():
    plan = load_plan(CONFIGS / "compare.yaml", ["features.weights=null"])
    budgets = {
        (config.size, config.completion.training.steps,
         config.completion.training.batch_size, config.masks.model_dump_json())
        for config in plan.networks.values()
    }  # fmt: skip
    assert len(budgets) == 1 and len(plan.networks) == 7
    for config in plan.networks.values():
        config.completion.loss.perceptual = config.completion.loss.style = 0.0
    check_networks(plan)
    assert {name for name, one in plan.methods.items() if one.parsing == "none"} == {
        "ours_without_parsing", "contextual_attention", "partial_convolution", "glc"
    }  # fmt: skip


def test_the_comparison_without_the_map_differs_in_the_map_alone():
    plan = load_plan(CONFIGS / "parsing_value.yaml", ["features.weights=null"])
    ours, without = (
        plan.networks[name].completion for name in ("ours", "ours_without_parsing")
    )
    assert ours.network.parsing and not without.network.parsing
    assert ours.training == without.training and ours.loss == without.loss


def test_a_budget_shortens_phases_and_warm_ups():
    config = Config()
    config.completion.training.steps = 1000
    config.completion.training.optimizer.warmup_steps = 100
    config.completion.schedule.reconstruction_steps = 700
    config.completion.schedule.critic_steps = 50
    short = within_budget(config, 100, 2).completion
    assert short.training.steps == 100
    assert short.training.optimizer.warmup_steps == 10
    assert short.schedule.reconstruction_steps == 70
    assert short.schedule.critic_steps == 5


def test_stage_1_at_another_size(tiny_pipeline):
    network = tiny_pipeline.parsing_network
    assert at_size(network, (32, 32)) is network
    larger = at_size(network, (64, 48))
    assert larger.size == (64, 48)
    rng = np.random.default_rng(0)
    tile = rng.uniform(-1, 1, (1, 64, 48, 3)).astype(np.float32)
    outputs = find_structure(larger, tile, np.zeros((1, 64, 48, 1), np.float32))
    assert tuple(outputs["parsing"].shape) == (1, 32, 24, 20)
    assert_equal_arrays(network.get_weights(), larger.get_weights())


def test_frechet_distance():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) + 1
    two = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    means = one.mean(0) - two.mean(0)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = means @ means + np.trace(first + second - 2 * root)
    assert frechet_distance(one, two) == pytest.approx(expected)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(one, one + 2) == pytest.approx(5 * 4)
    # Uncorrelated: squared differences of means and of deviations.
    line = np.array([[-1.0], [1.0]])
    assert frechet_distance(line, 3 * line + 1) == pytest.approx(1 + 2 * 4)
    # Fewer rows than columns: still a number.
    assert frechet_distance(one[:3], two[:3]) > 0


def test_perceptual_distance(portraits):
    distance = FeatureDistance("vgg16", "random", ["block1_conv1"], "block1_conv2")
    photo = portraits[0].photo
    found = distance.features(photo)
    assert distance.distance(found, found) == 0
    assert distance.pool(found).shape == (64,)
    a, b = found["block1_conv1"], distance.features(255 - photo)["block1_conv1"]
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    other = {"block1_conv1": b}
    assert distance.distance(found, other) == pytest.approx(
        (2 - 2 * cosine).mean(), rel=1e-3
    )
    noise = np.random.default_rng(0).integers(-8, 9, photo.shape)
    near = distance.features(np.clip(photo + noise, 0, 255).astype(np.uint8))
    assert 0 < distance.distance(found, near) < distance.distance(found, other)


def test_a_pair_is_decided_beyond_the_spread():
    rng = np.random.default_rng(0)
    ours = rng.normal(20, 5, (2, 60))
    same = compare_pair(ours, ours + rng.normal(0, 1, 60), "higher")
    assert same["verdict"] == "open" and same["low"] < 0 < same["high"]
    # A small lead on every photo counts, whatever the photos' own spread.
    lead = compare_pair(ours, ours - 0.3 + rng.normal(0, 0.1, 60), "higher")
    assert lead["verdict"] == "better" and lead["wins"] > 55
    assert lead["difference"] == pytest.approx(0.3, abs=0.05)
    assert compare_pair(ours, ours - 1, "lower")["verdict"] == "worse"
