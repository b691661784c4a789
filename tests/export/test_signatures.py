"""What the exported graphs answer, in a Session."""

import json

import cv2
import numpy as np
import pytest
import tensorflow as tf
from export_photos import decode, photo_and_mask

from export.contract import SIGNATURES, check_names
from export.saved_model import export_pipeline, open_session
from portrait_tf.apps.folders import parse_file, plan_parsing
from portrait_tf.compat import KERAS_3
from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import SavedModelEngine
from portrait_tf.inference.extrapolation import Margins, extend_photo
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.layers import heatmap_peaks
from portrait_tf.models import ParsingNetwork
from portrait_tf.photos import encode_png
from portrait_tf.portrait import Portrait


@pytest.fixture(scope="module")
def run(tiny_models):
    with open_session(tiny_models / "1") as run:
        yield run


def batch(size, count=1, seed=0):
    pairs = [photo_and_mask(size, seed + index) for index in range(count)]
    return {
        "image": np.stack([photo for photo, _ in pairs]),
        "mask": np.stack([mask[..., None] for _, mask in pairs]),
    }


def assert_alike(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - np.asarray(wanted, int)).max() <= 1


def reference(pipeline, inputs):
    return {
        name: value.numpy()
        for name, value in pipeline(inputs["image"], inputs["mask"]).items()
    }


@pytest.mark.parametrize(
    ("size", "count"), [((16, 16), 1), ((61, 47), 3), ((1, 1), 1), ((32, 32), 64)]
)
def test_any_size_and_batch(run, tiny_pipeline, size, count):
    inputs = batch(size, count)
    wanted = reference(tiny_pipeline, inputs)
    found = run("serving_default", inputs)
    assert_alike(found["completed"], wanted["completed"])
    assert np.mean(found["parsing"] != wanted["parsing"]) < 0.01


@pytest.mark.parametrize("size", [(4096, 31), (33, 4096)])
def test_a_side_of_4096(run, size):
    inputs = batch(size)
    found = run("serving_default", inputs)
    known = inputs["mask"][..., 0] == 0
    assert found["completed"].shape == inputs["image"].shape
    np.testing.assert_array_equal(found["completed"][known], inputs["image"][known])
    assert (found["completed"][~known] != inputs["image"][~known]).mean() > 0.5
    assert found["parsing"].max() <= 19


def test_nothing_but_hole(run, tiny_pipeline):
    inputs = batch((40, 30))
    inputs["mask"][:] = 1
    found = run("serving_default", inputs)["completed"]
    assert_alike(found, reference(tiny_pipeline, inputs)["completed"])
    inputs["image"][:] = 200
    np.testing.assert_array_equal(run("serving_default", inputs)["completed"], found)


def test_parse_has_the_joints_in_pixels(run, tiny_pipeline):
    inputs = batch((90, 47), 2)
    found = run("parse", inputs)
    wanted = tiny_pipeline.joints(inputs["image"], inputs["mask"]).numpy()
    assert found["joints"].dtype == np.float32 and found["joints"].shape == (2, 16, 3)
    np.testing.assert_allclose(found["joints"][..., 2], wanted[..., 2], atol=1e-3)
    near = np.abs(found["joints"] - wanted).max(-1) < 0.5
    assert near.mean() > 0.9
    labels = reference(tiny_pipeline, inputs)["parsing"]
    assert np.mean(found["parsing"] != labels) < 0.01


def test_joints_are_those_of_portrait_parse_and_of_the_formula(
    run, tiny_pipeline, tiny_engine, tmp_path
):
    inputs = batch((17, 29))
    inputs["mask"][:] = 0
    found = run("parse", inputs)["joints"][0]
    path = tmp_path / "photo.png"
    path.write_bytes(encode_png(inputs["image"][0]))
    wanted = Portrait(tiny_engine).parse(path).joints
    (job,) = plan_parsing(path, tmp_path)
    parse_file(Portrait(tiny_engine), job)
    told = json.loads(job.joints_out.read_text())["joints"].values()
    told = np.array([[one["x"], one["y"]] for one in told])
    # The frame of 32x32 holds the photo in its upper 19 rows.
    image, mask, _ = tiny_pipeline.shrink(inputs["image"], inputs["mask"])
    pose = tiny_pipeline.structure(image, mask)["pose"]
    small = heatmap_peaks(pose).numpy()[0, :, :2] * 32
    formula = (small + 0.5) * [29 / 32, 17 / 19] - 0.5
    np.testing.assert_allclose(wanted[:, :2], formula, atol=1e-3)
    np.testing.assert_allclose(told, formula, atol=0.051)
    assert (np.abs(found[:, :2] - formula).max(-1) < 0.05).mean() > 0.9


class TestCompleteWithParsing:
    def painted(self, pipeline, inputs, shares):
        """What stage 2 paints by a map, of the networks' own shape."""
        image, mask, _ = pipeline.shrink(inputs["image"], inputs["mask"])
        painted = pipeline.paint(image, mask, shares)["completed"].numpy()
        painted = np.clip(np.round((painted + 1) * 127.5), 0, 255)
        return np.where(inputs["mask"] != 0, painted, inputs["image"])

    def test_an_unknown_map_is_stage_1s(self, run):
        inputs = batch((61, 47), 2)
        wanted = run("serving_default", inputs)["completed"]
        for value in (255, 20):
            unknown = np.full_like(inputs["mask"], value)
            found = run("complete_with_parsing", {**inputs, "parsing": unknown})
            assert list(found) == ["completed"]
            assert_alike(found["completed"], wanted)

    def test_a_known_map_is_what_is_painted_by(self, run, tiny_pipeline):
        """Of the networks' shape, so that the frame has no rest for stage 1."""
        inputs = batch((32, 32))
        labels = np.repeat(np.arange(32)[:, None] % 20, 32, axis=1)
        parsing = labels[None, ..., None].astype(np.uint8)
        wanted = self.painted(tiny_pipeline, inputs, tf.one_hot(labels, 20)[None])
        found = run("complete_with_parsing", {**inputs, "parsing": parsing})
        assert_alike(found["completed"], wanted)
        other = run("complete_with_parsing", {**inputs, "parsing": parsing * 0 + 13})
        assert np.abs(other["completed"].astype(int) - found["completed"]).max() > 2

    def test_only_what_is_open_is_predicted(self, run, tiny_pipeline):
        inputs = batch((32, 32))
        image, mask, place = tiny_pipeline.shrink(inputs["image"], inputs["mask"])
        parsing = np.full((1, 32, 32, 1), 9, np.uint8)
        parsing[:, :16] = 255
        shares, unknown = tiny_pipeline.shrink_parsing(parsing, place)
        np.testing.assert_array_equal(unknown[0, :16], 1.0)
        np.testing.assert_array_equal(unknown[0, 16:], 0.0)
        np.testing.assert_array_equal(shares[0, 16:, :, 9], 1.0)
        predicted = tiny_pipeline.structure(image, mask)["parsing"]
        wanted = self.painted(tiny_pipeline, inputs, shares + unknown * predicted)
        found = run("complete_with_parsing", {**inputs, "parsing": parsing})
        assert_alike(found["completed"], wanted)


class TestCompleteWithJoints:
    @pytest.mark.parametrize("size", [(61, 47), (32, 32)])
    def test_it_answers_as_the_pipeline(self, run, tiny_pipeline, size):
        inputs = batch(size, 2)
        joints = np.full((2, 16, 3), np.nan, np.float32)
        joints[..., 2] = 0
        joints[0, 5], joints[1, 0] = (3, size[0] - 4, 1), (20, size[0] + 2, 1)
        found = run("complete_with_joints", {**inputs, "joints": joints})
        wanted = tiny_pipeline.complete_with_joints(**inputs, joints=joints)
        assert found.keys() == wanted.keys()
        assert_alike(found["completed"], wanted["completed"])
        assert np.mean(found["parsing"] != wanted["parsing"]) < 0.01
        near = np.abs(found["joints"] - wanted["joints"]).max(-1) < 0.5
        assert near.mean() > 0.9
        plain = run("serving_default", inputs)["completed"]
        assert (plain != found["completed"]).any()
        joints[..., 2] = 0
        found = run("complete_with_joints", {**inputs, "joints": joints})
        assert_alike(found["completed"], plain)

    def test_networks_without_hints_have_it_not(self, tiny_pipeline, tmp_path):
        network = ParsingNetwork(
            size=(32, 32), widths=(8, 16, 16, 24), blocks=(1, 1), feature_width=16
        )
        pipeline = Pipeline(network, tiny_pipeline.completion_network, detail=False)
        with pytest.raises(PortraitError, match="takes joints as hints .*without"):
            export_pipeline(pipeline, tmp_path, signatures=["complete_with_joints"])
        names = check_names(None, pipeline.takes_joints)
        assert {*SIGNATURES} - {*names} == {"complete_with_joints"}
        version = export_pipeline(
            pipeline, tmp_path, signatures=["serving_default", "parse"]
        )
        with open_session(version) as answer:
            inputs = batch((40, 30))
            assert answer("serving_default", inputs).keys() == {"completed", "parsing"}
        with pytest.raises(PortraitError, match="signature 'complete_with_joints'"):
            SavedModelEngine(version).parse(
                inputs["image"][0], None, np.zeros((16, 3), np.float32)
            )


class TestExtrapolate:
    def test_margins_of_their_own(self, run, tiny_pipeline):
        photos = batch((50, 37), 3)["image"]
        margins = np.array(
            [[0, 0.3, 0, 0], [0.1, 0, 0.25, 1], [0, 0, 0, 0]], np.float32
        )
        found = run("extrapolate", {"image": photos, "margins": margins})
        assert found["size"].dtype == np.int32
        canvas = tuple(found["size"].max(0))
        for name, channels in (("completed", 3), ("parsing", 1)):
            assert found[name].shape == (3, *canvas, channels)
        for index in (0, 1):
            top, bottom, left, right = map(float, margins[index].round(2))
            added = Margins.from_fractions(
                photos[index].shape[:2], top, bottom, left, right
            )
            extended, hole = extend_photo(photos[index], added)
            height, width = hole.shape
            assert tuple(found["size"][index]) == (height, width)
            wanted = reference(
                tiny_pipeline,
                {"image": extended[None], "mask": hole[None, ..., None]},
            )
            own = {
                name: found[name][index, :height, :width]
                for name in ("completed", "parsing")
            }
            assert_alike(own["completed"], wanted["completed"][0])
            assert np.mean(own["parsing"] != wanted["parsing"][0]) < 0.01
            np.testing.assert_array_equal(
                own["completed"][hole == 0], extended[hole == 0]
            )
            for name in own:
                assert not found[name][index, height:].any()
                assert not found[name][index, :, width:].any()
        assert tuple(found["size"][2]) == (50, 37)
        np.testing.assert_array_equal(found["completed"][2, :50, :37], photos[2])

    @pytest.mark.parametrize("part", [0.1, 0.25, 1 / 3, 0.5, 1.0])
    def test_the_size_is_the_command_lines(self, run, part):
        photo, _ = photo_and_mask((45, 31))
        added = Margins.from_fractions(photo.shape[:2], part, part, part, part)
        extended, _ = extend_photo(photo, added)
        margins = np.full((1, 4), part, np.float32)
        found = run("extrapolate", {"image": photo[None], "margins": margins})
        assert tuple(found["size"][0]) == extended.shape[:2]


LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]


def encode(extension, picture, options=()):
    """A file, of BGR; of WebP only where TensorFlow decodes it, 2.15 does not."""
    if extension == ".webp" and not KERAS_3:
        extension = ".png"
    return cv2.imencode(extension, picture, list(options))[1].tobytes()


class TestEncoded:
    def check(self, run, images, masks):
        """Against `serving_default`, of what TensorFlow decodes."""
        inputs = {
            "image_bytes": np.array(images, object),
            "mask_bytes": np.array(masks, object),
        }
        found = run("encoded", inputs)
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            photo = tf.io.decode_image(image, expand_animations=False).numpy()[..., :3]
            photo = np.broadcast_to(photo, (*photo.shape[:2], 3))
            hole = tf.io.decode_image(mask, expand_animations=False).numpy()
            hole = hole[..., :3].max(-1, keepdims=True)
            wanted = run("serving_default", {"image": photo[None], "mask": hole[None]})
            completed, parsing = (
                decode(found[name][index])
                for name in ("completed_bytes", "parsing_bytes")
            )
            assert_alike(completed, wanted["completed"][0])
            assert np.mean(parsing != wanted["parsing"][0]) < 0.01

    def test_every_format_in_one_batch(self, run):
        """Of different sizes."""
        images, masks = [], []
        for index, (extension, options) in enumerate(
            [
                (".png", []),
                (".jpg", []),
                (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
                (".bmp", []),
                (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
                (".webp", LOSSLESS),
            ]
        ):
            photo, mask = photo_and_mask((40 + 7 * index, 61 - 5 * index), index)
            images.append(encode(extension, photo[..., ::-1], options))
            masks.append(encode_png(mask))
        self.check(run, images, masks)

    @pytest.mark.addons_stack("TensorFlow 2.21 decodes WebP")
    def test_webp_is_refused(self, run):
        photo, mask = photo_and_mask((40, 50))
        content = cv2.imencode(".webp", photo)[1].tobytes()
        inputs = {
            "image_bytes": np.array([content], object),
            "mask_bytes": np.array([encode_png(mask)], object),
        }
        with pytest.raises(tf.errors.InvalidArgumentError):
            run("encoded", inputs)

    def test_masks_of_all_formats(self, run):
        photo, mask = photo_and_mask((44, 50))
        colors = np.repeat(mask[..., None], 3, axis=2)
        masks = [encode_png(one) for one in (mask, colors, (mask > 0).astype(np.uint8))]
        masks += [encode(".webp", colors, LOSSLESS)]
        masks += [encode(".bmp", colors), encode(".bmp", mask)]
        self.check(run, [encode_png(photo)] * len(masks), masks)

    def test_transparency_is_not_read_and_gray_is_a_color(self, run):
        photo, mask = photo_and_mask((44, 50))
        faint = np.dstack([photo[..., ::-1], np.full((44, 50), 250, np.uint8)])
        images = [encode(".png", faint), encode(".bmp", faint)]
        images += [encode(".webp", faint, LOSSLESS)]
        images += [encode(".png", photo[..., 0]), encode(".bmp", photo[..., 0])]
        self.check(run, images, [encode_png(mask)] * len(images))
