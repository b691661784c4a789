"""A user's own parsing map: its files, what it changes, and where it comes from."""

import json

import cv2
import numpy as np
import pytest
from command_line import run
from PIL import Image

from portrait_tf import Portrait
from portrait_tf.apps.folders import Job, parse_file, plan_parsing
from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import SavedModelEngine, ServerEngine
from portrait_tf.inference.large_photos import complete_photo, parse_photo
from portrait_tf.labels import JOINTS, LABELS, PALETTE, VOID_LABEL, color_parsing
from portrait_tf.photos import read_photo, write_png
from portrait_tf.photos.joints import joints_by_name
from portrait_tf.photos.parsing_maps import read_parsing_map, write_parsing_map

COAT, SKIRT = LABELS.index("Coat"), LABELS.index("Skirt")


@pytest.fixture
def every_label():
    """A map with all labels and void, `[21, 6]`."""
    values = np.array([*range(20), VOID_LABEL], np.uint8)
    return np.repeat(values[:, None], 6, axis=1)


def hole_of(size):
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 : size[0] * 2 // 3, size[1] // 4 : size[1] * 3 // 4] = 255
    return mask


class TestFiles:
    def test_what_is_written_is_read(self, tmp_path, every_label):
        write_parsing_map(tmp_path / "new" / "map.png", every_label)
        found = read_parsing_map(tmp_path / "new" / "map.png", every_label.shape)
        np.testing.assert_array_equal(found, every_label)
        with Image.open(tmp_path / "new" / "map.png") as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture), every_label)
            shown = np.asarray(picture.convert("RGB"))
        np.testing.assert_array_equal(shown, color_parsing(every_label))

    def test_labels_or_colors_of_many_kinds(self, tmp_path, every_label):
        shown = color_parsing(every_label)
        reordered = Image.fromarray(every_label)
        # As an editor leaves it: the same picture, its palette in another order.
        palette = np.zeros((256, 3), np.uint8)
        order = np.random.default_rng(0).permutation(21)
        palette[order] = [*PALETTE, (128, 128, 128)]
        indices = np.array([*order[:20], *[0] * 235, order[20]], np.uint8)
        reordered = Image.fromarray(indices[every_label])
        reordered.putpalette(palette.tobytes())
        plain = Image.fromarray(every_label)
        gray_palette = Image.fromarray(every_label)
        gray_palette.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
        clear = np.dstack([shown, np.full(every_label.shape, 255, np.uint8)])
        clear[-1] = 0
        for name, picture in {
            "rgb.png": Image.fromarray(shown),
            "rgb.bmp": Image.fromarray(shown),
            "reordered.png": reordered,
            "gray.png": plain,
            "gray_palette.png": gray_palette,
            "channels.png": Image.fromarray(np.repeat(every_label[..., None], 3, -1)),
            "clear.png": Image.fromarray(clear),
        }.items():
            picture.save(tmp_path / name)
            found = read_parsing_map(tmp_path / name)
            np.testing.assert_array_equal(found, every_label, err_msg=name)

    def test_wrong_maps(self, tmp_path, every_label):
        wrong = every_label.copy()
        wrong[3, 2] = 20
        write_png(tmp_path / "value.png", wrong)
        colors = color_parsing(every_label)
        colors[3, 2] = (1, 2, 3)
        write_png(tmp_path / "color.png", colors)
        cv2.imwrite(str(tmp_path / "deep.png"), every_label.astype(np.uint16))
        write_parsing_map(tmp_path / "good.png", every_label)
        (tmp_path / "text.png").write_text("no map")
        Image.fromarray(every_label).save(tmp_path / "jpeg.png", "JPEG", quality=100)
        for name, words in {
            "value.png": "expected labels 0 to 19, .* received 20 in row 3, column 2",
            "color.png": r"received the color \(1, 2, 3\) in row 3, column 2",
            "deep.png": "a label map of 8 bits",
            "text.png": "label map",
            "jpeg.png": "without loss, such as PNG, received JPEG, which changes lab",
            "none.png": "label map",
        }.items():
            with pytest.raises(PortraitError, match=words) as caught:
                read_parsing_map(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)
        with pytest.raises(PortraitError, match="result's size of 6x6 .*received 21x6"):
            read_parsing_map(tmp_path / "good.png", (6, 6))


class TestPainting:
    # The engine's own business, and that of crops.
    @pytest.mark.parametrize("size", [(32, 24), (150, 100)])
    def test_the_map_changes_the_hole_and_nothing_else(self, engine, size):
        photo, mask = synthesize(1, size).photo, hole_of(size)
        results = [
            complete_photo(engine, photo, mask, parsing=np.full(size, label, np.uint8))
            for label in (COAT, SKIRT)
        ]
        hole = mask != 0
        for result, label in zip(results, (COAT, SKIRT), strict=True):
            np.testing.assert_array_equal(result.completed[~hole], photo[~hole])
            assert (result.parsing[hole] == label).all()
        one, two = (result.completed[hole] for result in results)
        assert (one != two).any(-1).mean() > 0.5
        # Outside the hole stage 1 has its word.
        parsings = [result.parsing[~hole] for result in results]
        assert not (parsings[0] == COAT).all() and not (parsings[1] == SKIRT).all()

    @pytest.mark.parametrize("size", [(32, 24), (150, 100)])
    def test_what_is_left_open_is_stage_1_s(self, engine, size):
        photo, mask = synthesize(1, size).photo, hole_of(size)
        given = np.full(size, VOID_LABEL, np.uint8)
        plain = complete_photo(engine, photo, mask)
        same = complete_photo(engine, photo, mask, parsing=given)
        np.testing.assert_array_equal(plain.completed, same.completed)
        np.testing.assert_array_equal(plain.parsing, same.parsing)
        # A map of the known part alone says nothing of the hole either.
        given[mask == 0] = COAT
        same = complete_photo(engine, photo, mask, parsing=given)
        np.testing.assert_array_equal(plain.completed, same.completed)
        given[:] = VOID_LABEL
        given[: size[0] // 2] = COAT
        half = complete_photo(engine, photo, mask, parsing=given)
        drawn = (mask != 0) & (given == COAT)
        assert (half.parsing[drawn] == COAT).all()
        assert (half.completed != plain.completed).any()

    def test_wrong_maps(self, engine):
        photo, mask = synthesize(1, (32, 24)).photo, hole_of((32, 24))
        for given, words in (
            (np.zeros((24, 32), np.uint8), "size of 32x24 .* received 24x32"),
            (np.full((32, 24), 77, np.uint8), "expected labels 0 to 19, .*received 77"),
            (np.zeros((32, 24), int), "type uint8, received int64"),
            (np.zeros((32, 24, 3), np.uint8), r"shape \[height, width\]"),
        ):
            with pytest.raises(PortraitError, match=words):
                complete_photo(engine, photo, mask, parsing=given)


class TestParsing:
    def test_a_large_photo_is_looked_at_small(self, engine):
        sample = synthesize(2, (150, 100))
        labels, joints = parse_photo(engine, sample.photo)
        assert labels.shape == (150, 100) and labels.dtype == np.uint8
        assert labels.max() < 20
        assert joints.shape == (16, 3) and joints.dtype == np.float32
        # Also in what the square frame has beside the photo: 25 pixels, and one.
        assert (joints[:, 0] >= -26).all() and (joints[:, 0] <= 126).all()
        small = cv2.resize(sample.photo, (21, 32), interpolation=cv2.INTER_AREA)
        ours, own = engine.parse(small, None)
        assert ours.shape == (32, 21) and own.shape == (16, 3)
        again, _ = parse_photo(engine, small, np.zeros((32, 21), np.uint8))
        np.testing.assert_array_equal(again, ours)

    def test_joints_are_in_pixels_of_the_photo(self):
        """A person in a corner of a large photo is looked at alone."""

        class Finder:
            """Sees red; its joints are the corners and the middle of it."""

            working_size = (96, 64)

            def parse(self, photo, mask):
                red = (photo[..., 0] > 150) & (photo[..., 1] < 80)
                rows, columns = np.nonzero(red)
                joints = np.ones((16, 3), np.float32)
                joints[:, 0], joints[:, 1] = columns.mean(), rows.min()
                joints[8:, 1] = rows.max() + 1
                return np.where(red, np.uint8(5), np.uint8(0)), joints

        photo = np.full((960, 1280, 3), 90, np.uint8)
        photo[300:540, 1000:1100] = (220, 20, 20)
        labels, joints = parse_photo(Finder(), photo)
        overlap = (labels[300:540, 1000:1100] == 5).mean()
        assert overlap > 0.97 and (labels > 0).sum() < 1.05 * 240 * 100
        np.testing.assert_allclose(joints[:, 0], 1050, atol=3)
        np.testing.assert_allclose(joints[:8, 1], 300, atol=4)
        np.testing.assert_allclose(joints[8:, 1], 540, atol=4)

    def test_files(self, engine, tmp_path):
        sample = synthesize(2, (60, 40))
        write_png(tmp_path / "a.png", sample.photo)
        (job,) = plan_parsing(tmp_path / "a.png", tmp_path / "out")
        assert parse_file(Portrait(engine), job) == []
        names = [path.name for path in job.written]
        assert names == ["a-map.png", "a-joints.json", "a-overlay.png"]
        labels, joints = parse_photo(engine, sample.photo)
        np.testing.assert_array_equal(read_parsing_map(job.out), labels)
        described = json.loads(job.joints_out.read_text())
        assert described["size"] == [60, 40] and list(described["joints"]) == [*JOINTS]
        found = [[one["x"], one["y"]] for one in described["joints"].values()]
        np.testing.assert_allclose(found, joints[:, :2], atol=0.06)
        assert read_photo(job.overlay_out).shape == (60, 40, 3)
        # With a mask, the overlay shows no pixel of what is under it.
        mask = hole_of((60, 40))
        write_png(tmp_path / "m.png", mask)
        overlays = []
        for value in (0, 255):
            photo = np.where(mask[..., None] != 0, np.uint8(value), sample.photo)
            write_png(tmp_path / "b.png", photo)
            out = tmp_path / str(value)
            (job,) = plan_parsing(tmp_path / "b.png", out, tmp_path / "m.png")
            parse_file(Portrait(engine), job)
            overlays.append(read_photo(job.overlay_out))
        np.testing.assert_array_equal(*overlays)

    def test_folders_are_mirrored(self, tmp_path):
        for name in ("a.png", "sub/b.png"):
            write_png(tmp_path / "photos" / name, np.zeros((9, 9, 3), np.uint8))
        jobs = plan_parsing(tmp_path / "photos", tmp_path / "out")
        out = tmp_path / "out"
        assert jobs[1] == Job(
            tmp_path / "photos" / "sub/b.png",
            out / "maps" / "sub/b.png",
            joints_out=out / "joints" / "sub/b.json",
            overlay_out=out / "overlays" / "sub/b.png",
        )
        write_png(tmp_path / "photos" / "a.bmp", np.zeros((9, 9, 3), np.uint8))
        with pytest.raises(PortraitError, match="two photos are called 'a'"):
            plan_parsing(tmp_path / "photos", out)
        with pytest.raises(PortraitError, match="a folder is expected"):
            plan_parsing(tmp_path / "photos", tmp_path / "photos" / "a.png")
        with pytest.raises(PortraitError, match="is the folder of the photos"):
            plan_parsing(tmp_path / "photos", tmp_path / "photos")


@pytest.mark.long
def test_a_server_gives_the_same(engine, tiny_models):
    """As Keras, with and without the user's map and joints."""
    from serving.local_server import LocalServer

    photo = synthesize(3, (32, 28)).photo
    mask = hole_of((32, 28))
    given = np.full((32, 28), VOID_LABEL, np.uint8)
    given[:16] = COAT
    with LocalServer(tiny_models, grpc_port=0, rest_port=0) as server:
        both = engine, ServerEngine(f"localhost:{server.grpc_port}")
        for parsing in (None, given, np.full_like(given, SKIRT)):
            ours, theirs = (one.complete(photo, mask, parsing) for one in both)
            assert np.abs(ours[0].astype(int) - theirs[0]).max() <= 1
            assert (ours[1] == theirs[1]).mean() > 0.99
        asked = [(None,), (mask,)]
        for x in (4, 24):
            joints = joints_by_name({"left_ankle": (x, 29)})
            ours, theirs = (one.complete(photo, mask, joints=joints) for one in both)
            assert np.abs(ours[0].astype(int) - theirs[0]).max() <= 1
            asked.append((mask, joints))
        for given in asked:
            ours, theirs = (one.parse(photo, *given) for one in both)
            assert (ours[0] == theirs[0]).mean() > 0.99
            np.testing.assert_allclose(ours[1], theirs[1], atol=0.5)


def test_a_model_without_the_signatures(tmp_path, tiny_models):
    import tensorflow as tf

    class Old(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.uint8, "image")])
        def serving_default(self, image):
            return {"completed": image}

    module = Old()
    tf.saved_model.save(
        module, str(tmp_path), signatures={"serving_default": module.serving_default}
    )
    photo, mask = np.zeros((9, 9, 3), np.uint8), hole_of((9, 9))
    engine = SavedModelEngine(tmp_path)
    with pytest.raises(PortraitError, match="without the signature 'parse'"):
        engine.parse(photo, mask)
    with pytest.raises(PortraitError, match="the signature 'complete_with_parsing'"):
        engine.complete(photo, mask, mask)


@pytest.mark.usefixtures("tiny_commands")
class TestCommandLine:
    @pytest.fixture
    def photo(self, tmp_path, portraits):
        write_png(tmp_path / "photo.png", portraits[0].photo)
        write_png(tmp_path / "mask.png", hole_of((64, 64)))
        return tmp_path / "photo.png"

    def test_parse_edit_complete(self, photo, tmp_path):
        mask, out = tmp_path / "mask.png", tmp_path / "out.png"
        code, output = run("parse", photo, "--mask", mask, "-o", tmp_path / "p")
        assert code == 0, output
        map_path = tmp_path / "p" / "photo-map.png"
        assert output.split() == [
            str(tmp_path / "p" / f"photo-{end}")
            for end in ("map.png", "joints.json", "overlay.png")
        ]
        complete = ["complete", photo, "--mask", mask, "--parsing-in"]
        assert run(*complete, map_path, "-o", out)[0] == 0
        before = read_photo(out)
        labels = read_parsing_map(map_path)
        labels[24:40] = COAT
        write_png(map_path, color_parsing(labels))
        maps = tmp_path / "after-map.png"
        assert run(*complete, map_path, "-o", out, "--parsing-out", maps)[0] == 0
        after, hole = read_photo(out), hole_of((64, 64)) != 0
        np.testing.assert_array_equal(after[~hole], before[~hole])
        np.testing.assert_array_equal(after[~hole], read_photo(photo)[~hole])
        assert (after[hole] != before[hole]).any()
        edited = np.zeros((64, 64), bool)
        edited[24:40] = True
        assert (read_parsing_map(maps)[hole & edited] == COAT).all()

    def test_folders_pair_maps_by_name(self, photo, tmp_path, portraits):
        for index, sample in enumerate(portraits[:2]):
            write_png(tmp_path / "photos" / f"p{index}.png", sample.photo)
        parsed = tmp_path / "parsed"
        code, output = run("parse", tmp_path / "photos", "-o", parsed)
        assert code == 0 and "2 photos parsed, 0 skipped" in output
        code, output = run("parse", tmp_path / "photos", "-o", parsed)
        assert code == 0 and "0 photos parsed, 2 skipped" in output
        (parsed / "maps" / "p1.png").unlink()
        code, output = run(
            "complete", tmp_path / "photos", "--mask", tmp_path / "mask.png",
            "--parsing-in", parsed / "maps", "-o", tmp_path / "out",
        )  # fmt: skip
        assert code == 1 and "1 photos completed" in output
        assert "p1.png: no label map of this name" in output

    def test_an_extrapolation_by_a_map(self, photo, tmp_path):
        out = tmp_path / "out.png"
        write_parsing_map(tmp_path / "m.png", np.full((80, 64), COAT, np.uint8))
        arguments = ["extrapolate", photo, "--bottom", "16px", "-o", out]
        maps = tmp_path / "maps.png"
        arguments += ["--parsing-in", tmp_path / "m.png", "--parsing-out", maps]
        code, output = run(*arguments)
        assert code == 0, output
        np.testing.assert_array_equal(read_photo(out)[:64], read_photo(photo))
        assert (read_parsing_map(maps)[64:] == COAT).all()
        write_parsing_map(tmp_path / "m.png", np.full((64, 64), COAT, np.uint8))
        code, output = run(*arguments)
        assert code == 2 and "m.png: expected the result's size of 80x64" in output

    def test_extrapolations_of_all_kinds(self, photo, tmp_path):
        out = tmp_path / "out.png"
        for options, box in (
            (["--bottom", "25%", "--left", 0.5], (0, 32, 80, 96)),
            (["--top", "3px"], (3, 0, 67, 64)),
            (["--to-aspect", "2:3", "--anchor", "top"], (0, 0, 96, 64)),
            (["--to-size", "70x80", "--anchor", "bottom-right"], (16, 6, 80, 70)),
            (["--bottom", "300%"], (0, 0, 256, 64)),
        ):
            code, output = run("extrapolate", photo, *options, "-o", out)
            assert code == 0, output
            after = read_photo(out)
            assert after.shape == (*box[2:], 3)
            corner = after[box[0] : box[0] + 64, box[1] : box[1] + 64]
            np.testing.assert_array_equal(corner, read_photo(photo))

    def test_mistakes(self, photo, tmp_path):
        out = ["-o", tmp_path / "o.png"]
        write_parsing_map(tmp_path / "small.png", np.zeros((9, 9), np.uint8))
        mask = ["--mask", tmp_path / "mask.png"]
        for arguments, words in (
            (["complete", photo, *mask, *out, "--parsing-in", tmp_path / "none.png"],
             "none.png: cannot read the label map"),
            (["complete", photo, *mask, *out, "--parsing-in", tmp_path / "small.png"],
             "small.png: expected the result's size of 64x64"),
            (["complete", photo, *mask, *out, "--parsing-in", tmp_path],
             "is a folder; a label map is expected for one photo"),
            (["parse", tmp_path / "none.png"], "none.png"),
            (["parse", photo, "-o", photo], "a folder is expected"),
        ):  # fmt: skip
            code, output = run(*arguments)
            assert code == 2 and words in output, output
