"""`evaluate --report` with tiny networks, on synthetic people in LIP's layout."""

import csv
import json
import shutil

import cv2
import keras
import numpy as np
import pytest
import yaml
from command_line import run
from tiny import TINY, shaken

from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.masks import EVALUATION_TASKS
from portrait_tf.evaluation.completion_report import summarize_photos
from portrait_tf.evaluation.completion_sheets import ContactSheets
from portrait_tf.evaluation.evaluate import PhotoScores
from portrait_tf.evaluation.report_folder import FILES
from portrait_tf.labels import LABEL_GROUPS
from portrait_tf.photos import read_photo
from portrait_tf.runs.folder import GIVEN_NAME, build_network
from portrait_tf.runs.weights import save_weights

METHODS = {
    "ours", "true_map", "without_parsing", "telea", "navier_stokes", "patchmatch",
}  # fmt: skip


def write_run(folder, *changes):
    """A run of both stages with random weights that paint all of a hole."""
    config = with_changes(parse_config(TINY), list(changes))
    save_config(config, folder / "config.yaml")
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for stage in ("parsing", "completion"):
        network = shaken(build_network(stage, config), seed=rng)
        save_weights(network, folder / stage / GIVEN_NAME, {}, dtype=None)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs: whose stage 2 takes the map, and whose does not."""
    folder = tmp_path_factory.mktemp("runs")
    return (
        write_run(folder / "with"),
        write_run(
            folder / "without",
            "completion.network.parsing=false",
            "completion.network.prefill=plain",
        ),
    )


def evaluate(data, with_map, *arguments):
    return run(
        "evaluate", "--data", data, "--run", with_map, "--height", 32, "--width", 32,
        *arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory, data, runs):
    folder = tmp_path_factory.mktemp("reports") / "report"
    with_map, without = runs
    code, output = evaluate(
        data, with_map, "--report", folder, "--without-parsing", without,
        "--features", "random:dice",
    )  # fmt: skip
    assert code == 0, output
    return folder


def rows_of(folder):
    with open(folder / "photos.csv", newline="") as file:
        return list(csv.DictReader(file))


def scores_of(folder):
    return json.loads((folder / "scores.json").read_text())


def test_a_report_is_whole(report, read_page):
    assert {path.name for path in report.iterdir()} == set(FILES)
    assert not [p for p in report.parent.iterdir() if p != report]
    text = (report / "index.html").read_text()
    for words in (
        "VGG-16 dice distance", "ours, true map", "PatchMatch", "worst", "silhouette",
        "Kernel distance of patches, VGG-16 dice block3_conv3 + block4_conv3",
    ):  # fmt: skip
        assert words in text
    sources = {source for _, source in read_page(text).images}
    for task in EVALUATION_TASKS:
        assert f"contact_{task}.png" in sources
        for kind in ("contact", "examples"):
            picture = read_photo(report / f"{kind}_{task}.png")
            assert max(picture.shape) <= 4000 and picture.std() > 10


def test_rows_add_up_to_the_table(report):
    rows = rows_of(report)
    scores = scores_of(report)
    assert len(rows) == 4 * len(EVALUATION_TASKS) * len(METHODS)
    values, by_method = {}, {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(float(row["l1"]))
        for key in ("psnr_hole", "ssim", "l1", "distance"):
            place = row["task"], row["method"], key
            values.setdefault(place, []).append(float(row[key]))
    for (task, method, key), mine in values.items():
        one = scores["tasks"][task]["methods"][method]
        assert one["photos"] == 4
        telea = values[task, "telea", key]
        for name, average in (("mean", np.mean), ("median", np.median)):
            found, beside = one[key][name], one[key][f"{name}_to_telea"]
            assert found == pytest.approx(average(mine), rel=1e-4, abs=1e-5)
            if key in ("psnr_hole", "ssim"):
                expected = average(mine) - average(telea)
            else:
                expected = average(mine) / average(telea)
            assert beside == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for task, found in scores["tasks"].items():
        ours = values[task, "ours", "psnr_hole"]
        gain = np.subtract(ours, values[task, "telea", "psnr_hole"])
        pair = found["against"]["telea"]
        assert pair["difference"] == pytest.approx(gain.mean(), abs=1e-4)
        assert gain.min() - 1e-4 <= pair["low"] <= pair["difference"]
        assert pair["difference"] <= pair["high"] <= gain.max() + 1e-4
        examples = found["examples"]
        assert examples["best"]["psnr_hole"] == pytest.approx(max(ours), abs=1e-3)
        assert examples["worst"]["psnr_hole"] == pytest.approx(min(ours), abs=1e-3)
    # The true map, and none, change what is painted.
    ours = np.array(by_method["ours"])
    for other in ("true_map", "without_parsing"):
        assert (np.abs(ours - by_method[other]) > 1e-3).mean() > 0.5


def test_the_report_has_kernel_distances_and_label_groups(report):
    scores = scores_of(report)
    for task in EVALUATION_TASKS:
        methods = scores["kernel_distances"][task]
        assert set(methods) == METHODS
        telea = methods["telea"]["mean"]
        assert methods["ours"]["patches"] == methods["telea"]["patches"]
        if telea is None or telea <= 0:
            assert methods["ours"]["to_telea"] is None
        else:
            beside = methods["ours"]["mean"] / telea
            assert methods["ours"]["to_telea"] == pytest.approx(beside)
        groups = scores["label_groups"][task]
        assert set(groups["groups"]) == set(LABEL_GROUPS)
        assert 0 <= groups["silhouette"] <= 1
        assert groups["mean"] is None  # of 4 photos
    assert all(0 <= float(row["hole_silhouette"]) <= 1 for row in rows_of(report))


def test_pictures(data, runs, tmp_path):
    folder, numbers = tmp_path / "pictures", tmp_path / "scores.json"
    code, output = evaluate(
        data, runs[0], "--pictures", folder, "--count", 2, "--json", numbers,
        "--features", "random:dice",
    )  # fmt: skip
    assert code == 0, output
    assert "silhouette" in output and "Kernel distance" in output
    methods = {"ours", "telea", "navier_stokes"}
    assert {p.name for p in folder.iterdir()} == {"truth", "masks", "gray"} | methods
    names = {p.name for p in (folder / "truth").iterdir()}
    photos = sorted(next(data.glob("*/val_images")).iterdir())[:2]
    tasks = ("square", "strokes", "lower-third", "right-quarter")
    assert names == {f"{p.stem}_{task}.png" for p in photos for task in tasks}
    gaps = {task: [] for task in EVALUATION_TASKS}
    for name in names:
        truth = read_photo(folder / "truth" / name)
        mask = cv2.imread(str(folder / "masks" / name), cv2.IMREAD_UNCHANGED)
        assert truth.shape == (32, 32, 3) and mask.shape == (32, 32)
        assert set(np.unique(mask)) == {0, 255}
        for method in methods | {"gray"}:
            picture = read_photo(folder / method / name)
            np.testing.assert_array_equal(picture[mask == 0], truth[mask == 0])
            assert (picture[mask > 0] != truth[mask > 0]).any()
        assert (read_photo(folder / "gray" / name)[mask > 0] == 128).all()
        ours = read_photo(folder / "ours" / name)[mask > 0].astype(float)
        task = name[:-4].rsplit("_", 1)[1].replace("-", "_")
        gaps[task].append(np.abs(ours - truth[mask > 0]).mean())
    # They are the pictures that were scored.
    scores = json.loads(numbers.read_text())
    assert scores["features"]["name"] == "VGG-16 dice"
    assert set(scores["kernel_distances"]["square"]) == methods
    for task, found in gaps.items():
        assert scores["completion"][task]["l1"] == pytest.approx(np.mean(found))
    code, output = evaluate(data, runs[0], "--pictures", folder)
    assert code == 2 and "expected a new folder or an empty one" in output


def test_an_old_report_is_replaced_and_methods_are_chosen(data, runs, report, tmp_path):
    folder = shutil.copytree(report, tmp_path / "new" / "report")
    code, output = evaluate(
        data, runs[0], "--report", folder, "--count", 1, "--no-true-map",
        "--method", "navier_stokes",
    )  # fmt: skip
    assert code == 0, output
    rows = rows_of(folder)
    assert {row["method"] for row in rows} == {"ours", "telea", "navier_stokes"}
    assert len(rows) == 3 * len(EVALUATION_TASKS)
    assert [p.name for p in folder.parent.iterdir()] == ["report"]
    left_out = scores_of(folder)["left_out"]
    assert left_out["true map"] == "by --no-true-map"


def test_photos_without_maps_and_joints(data, runs, tmp_path):
    photos = next(data.glob("*/val_images"))
    own = tmp_path / "own"
    own.mkdir()
    (own / "names.txt").write_text("\n".join(p.stem for p in photos.iterdir()))
    settings = {"images": str(photos), "val": "names.txt"}
    (own / "dataset.yaml").write_text(yaml.safe_dump(settings))
    code, output = evaluate(own, runs[0], "--report", tmp_path / "out")
    assert code == 0, output
    scores = scores_of(tmp_path / "out")
    assert scores["left_out"]["true map"] == "no photo has a label map"
    assert set(scores["parsing"].values()) == {None}
    for one in scores["tasks"].values():
        assert set(one["methods"]) == METHODS - {"true_map", "without_parsing"}
        assert one["groups"]["hole_miou"] == []
        assert len(one["groups"]["hole_texture"]) == 3
    assert all(row["hole_miou"] == "" for row in rows_of(tmp_path / "out"))


def test_groups_by_hand():
    rows = []
    for index in range(6):
        for task in EVALUATION_TASKS:
            facts = {"hole_miou": 0.1 * (5 - index), "hole_share": 0.25}
            facts["hole_texture"] = None if index == 5 else float(index)
            for method, psnr in (("ours", 10.0 + index), ("telea", 10.0)):
                rows.append(
                    {"index": index, "photo": str(index), "task": task}
                    | {"method": method, "psnr_hole": psnr, "ssim": 0.5, "l1": 0.0}
                    | facts
                )
    one = summarize_photos(PhotoScores(rows, {}, {}, {}), {})["tasks"]["strokes"]
    groups = one["groups"]
    assert [part["difference"] for part in groups["hole_miou"]] == [4.5, 2.5, 0.5]
    assert [part["photos"] for part in groups["hole_texture"]] == [2, 2, 1]
    assert groups["hole_share"] == []
    ours = one["methods"]["ours"]
    assert ours["psnr_hole"]["median"] == 12.5
    assert ours["l1"]["mean_to_telea"] is None
    assert {p: e["photo"] for p, e in one["examples"].items()} == {
        "best": "5", "median": "2", "worst": "0",
    }  # fmt: skip


def test_contact_sheets_are_spread_over_the_split():
    assert ContactSheets(3).indices == {0, 1, 2}
    spread = sorted(ContactSheets(104).indices)
    assert len(spread) == 24 and (spread[0], spread[-1]) == (0, 103)
    assert set(np.diff(spread)) == {4, 5}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--method", "magic"], ["telea", "'magic'"]),
        (["--report", "file"], ["is a file; a folder is expected"]),
        (["--report", "file/deeper"], ["is a file; a folder is expected"]),
        (["--report", "."], ["found file in it"]),
        (["--pictures", "file"], ["is a file; a folder is expected"]),
        (
            ["--report", "new", "--pictures", "new/pictures"],
            ["expected a folder outside", "--report"],
        ),
        (["--features", "none.h5:x"], ["FILE:NAME", "no such file: none.h5"]),
        (["--without-parsing", "RUN"], ["takes no label map", "received"]),
    ],
)
def test_mistakes(data, runs, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    arguments = [runs[0] if one == "RUN" else one for one in arguments]
    code, output = evaluate(data, runs[0], *arguments)
    assert code == 2, output
    assert all(part in output for part in parts)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"
