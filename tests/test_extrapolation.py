"""Margins of every kind, growing in steps, and the estimate of the whole body."""

import functools
import json
import math
import pathlib
from fractions import Fraction

import cv2
import numpy as np
import pytest
from processes import python_output

from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Box
from portrait_tf.inference.extrapolation import (
    ANCHORS,
    MOST_PIXELS,
    SEEN_BORDER,
    Length,
    Margins,
    Wish,
    extrapolate_photo,
    find_anchor,
    growth_steps,
    margins_for_aspect,
    margins_for_size,
    parse_aspect,
    parse_length,
    parse_size,
    whole_body_margins,
)
from portrait_tf.inference.whole_body import MEANS, cut_sides, estimate_body, fit_body
from portrait_tf.labels import LABELS, SHOE_LABELS

CCP = pathlib.Path(__file__).parents[2] / "shared" / "data" / "ccp-lip"
SIZE = (48, 32)


class Clairvoyant:
    """A stage 1 that knows the whole person of which it is shown a part.

    Args:
        sample: The whole photo.
        rows: First and last row of what is shown.
        columns: Likewise.
    """

    working_size = (192, 128)

    def __init__(self, sample, rows, columns=None):
        self.sample = sample
        self.rows, self.columns = rows, columns or (0, sample.photo.shape[1])
        self.photo = sample.photo[slice(*self.rows), slice(*self.columns)]

    def parse(self, photo, mask):
        known = np.argwhere(mask == 0)
        (top, left), (bottom, right) = known.min(0), known.max(0) + 1
        scale = np.array([bottom - top, right - left]) / self.photo.shape[:2]
        matrix = np.array(
            [
                [scale[1], 0, left + scale[1] * (0.5 - self.columns[0]) - 0.5],
                [0, scale[0], top + scale[0] * (0.5 - self.rows[0]) - 0.5],
            ]
        )
        labels = np.where(self.sample.parsing == 255, 0, self.sample.parsing)
        labels = cv2.warpAffine(
            labels, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST
        )
        joints = self.sample.joints.copy()
        joints[:, 2] = 1
        joints[:, :2] = joints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return labels, joints.astype(np.float32)


@functools.cache
def whole_people():
    """Synthetic portraits of whole people, and their boxes."""
    found = []
    for seed in range(8):
        sample = synthesize(seed, (240, 160))
        body = Box.about(sample.parsing)
        if body.top > 0 and body.bottom < 240:
            found.append((sample, body))
    return found


class TestLengths:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("0.3", Length(0.3, "part")),
            (" 30% ", Length(0.3, "part")),
            ("200px", Length(200, "pixels")),
            ("200 PX", Length(200, "pixels")),
            ("0", Length(0, "part")),
            ("4", Length(4, "part")),
        ],
    )
    def test_good_ones(self, text, expected):
        found = parse_length(text, "top")
        assert found.unit == expected.unit
        assert math.isclose(found.value, expected.value)

    @pytest.mark.parametrize(
        "text",
        ["", "a", "px", "%", "-0.1", "5", "200", "nan", "inf px", "1.5px", "1cm"],
    )
    def test_bad_ones(self, text):
        with pytest.raises(PortraitError, match=r"'top': expected a part .* received"):
            parse_length(text, "top")

    def test_aspects_and_sizes(self):
        assert parse_aspect("2:3") == Fraction(2, 3)
        assert parse_aspect("1 : 1.5") == Fraction(2, 3)
        assert parse_size("1200x1800") == (1800, 1200)
        for text in ("", "2", "2:3:4", "0:1", "1:0", "1:20", "a:b", "-2:-3"):
            with pytest.raises(PortraitError, match="aspect ratio"):
                parse_aspect(text)
        for text in ("", "12", "12x", "0x5", "-1x5", "1.5x3", "axb", "1x2x3"):
            with pytest.raises(PortraitError, match="expected a size in pixels"):
                parse_size(text)


class TestMargins:
    def test_of_fractions(self):
        assert Margins.from_fractions((100, 60), top=0.25, right=0.5) == (25, 0, 0, 30)
        with pytest.raises(PortraitError, match="'left' is -0.1 times"):
            Margins.from_fractions((100, 60), left=-0.1)
        with pytest.raises(PortraitError, match="less than a pixel"):
            Margins.from_fractions((100, 60), top=0.001)
        with pytest.raises(PortraitError, match="at least one margin"):
            Margins.from_fractions((100, 60))

    @pytest.mark.parametrize("size", [(480, 320), (320, 480), (333, 217), (50, 50)])
    @pytest.mark.parametrize("aspect", ["2:3", "1:1", "16:9", "3:4"])
    def test_an_aspect_is_met_by_one_side(self, size, aspect):
        wanted = parse_aspect(aspect)
        margins = margins_for_aspect(size, wanted)
        height, width = margins.result_size(size)
        # The nearest whole number of pixels.
        assert abs(height * wanted - width) <= max(0.5, 0.5 * float(wanted)) + 1e-9
        assert sum(margins[:2]) == 0 or sum(margins[2:]) == 0
        assert margins_for_aspect((height, width), wanted) == (0, 0, 0, 0)

    def test_an_anchor_says_where(self):
        assert margins_for_size((10, 10), (20, 14)) == (5, 5, 2, 2)
        assert margins_for_size((10, 10), (20, 14), "top") == (0, 10, 2, 2)
        assert margins_for_size((10, 10), (20, 14), "bottom-right") == (10, 0, 4, 0)
        assert margins_for_size((10, 10), (21, 11), (0.5, 1.0)) == (6, 5, 1, 0) or (
            margins_for_size((10, 10), (21, 11), (0.5, 1.0)) == (5, 6, 1, 0)
        )
        for anchor in ANCHORS:
            if anchor != "auto":
                margins = margins_for_size((10, 13), (29, 20), anchor)
                assert margins.result_size((10, 13)) == (29, 20) and min(margins) >= 0
        for anchor in ("auto", "middle"):
            with pytest.raises(PortraitError, match="expected an anchor of center"):
                margins_for_size((10, 10), (20, 14), anchor)
        with pytest.raises(PortraitError, match="at least the photo's 10x12"):
            margins_for_size((12, 10), (11, 30))

    def test_wishes_that_contradict_themselves(self):
        top = {"top": Length(0.1, "part")}
        for words, given in {
            "none of them": {},
            "--top and --to-aspect contradict": {"lengths": top, "aspect": Fraction(1)},
            "--to-aspect and --to-size contradict": {
                "aspect": Fraction(1), "size": (9, 9),
            },
            "--top and --whole-body contradict": {"lengths": top, "whole_body": True},
            "--to-size and --whole-body contradict": {
                "size": (9, 9), "whole_body": True,
            },
            "--anchor goes with": {"lengths": top, "anchor": "top"},
            "expected an anchor of auto": {"size": (9, 9), "anchor": "there"},
            "at least one margin": {"lengths": {"top": Length(0, "part")}},
        }.items():  # fmt: skip
            with pytest.raises(PortraitError, match=words):
                Wish(**given)

    def test_a_wish_is_checked_without_an_engine(self):
        wish = Wish(size=(100, 100))
        assert wish.asks_stage_1 and not Wish(size=(9, 9), anchor="top").asks_stage_1
        assert wish.margins((50, 50)).result_size((50, 50)) == (100, 100)
        with pytest.raises(PortraitError, match="at least the photo's"):
            wish.margins((101, 50))
        huge = Wish({"top": Length(MOST_PIXELS, "pixels")})
        with pytest.raises(PortraitError, match="times the photo's side"):
            huge.margins((50, 50))
        with pytest.raises(PortraitError, match="at most 179 megapixels"):
            Wish({"top": Length(4, "part")}).margins((10_000, 10_000))


class TestSteps:
    @pytest.mark.parametrize(
        "margins",
        [
            (0, 10, 0, 0),
            (100, 300, 0, 7),
            (0, 400, 0, 0),
            (1, 0, 0, 0),
            (33, 33, 90, 0),
        ],
    )
    def test_no_step_adds_more_than_the_networks_have_seen(self, margins):
        margins, size = Margins(*margins), (100, 80)
        steps = growth_steps(size, margins)
        assert steps[-1] == margins
        before = Margins()
        for step in steps:
            assert all(b <= s for b, s in zip(before, step, strict=True))
            for axis, pair in enumerate(((0, 1), (2, 3))):
                added = sum(step[i] - before[i] for i in pair)
                # Whole pixels on two sides.
                assert added <= SEEN_BORDER * step.result_size(size)[axis] + 2
            before = step

    def test_how_many(self):
        assert growth_steps((60, 60), Margins()) == []
        assert growth_steps((60, 60), Margins(0, 40)) == [Margins(0, 40)]
        assert len(growth_steps((60, 60), Margins(0, 42))) == 2
        assert len(growth_steps((60, 60), Margins(20, 20, 20, 20))) == 1
        assert len(growth_steps((60, 60), Margins(0, 240))) == 4


class TestPainting:
    @pytest.mark.parametrize(
        "margins", [(0, 20, 0, 0), (30, 100, 0, 0), (10, 120, 50, 3), (0, 0, 0, 200)]
    )
    def test_the_photo_stays_bit_for_bit(self, engine, margins):
        photo = synthesize(3, SIZE).photo
        before, margins = photo.copy(), Margins(*margins)
        result = extrapolate_photo(engine, photo, margins)
        size = margins.result_size(SIZE)
        assert result.completed.shape == (*size, 3) and result.parsing.shape == size
        assert result.completed.dtype == result.parsing.dtype == np.uint8
        np.testing.assert_array_equal(margins.box(SIZE).of(result.completed), photo)
        np.testing.assert_array_equal(photo, before)
        border = np.ones(size, bool)
        margins.box(SIZE).of(border)[:] = False
        # A network paints no gray plane.
        assert (result.completed[border] != 128).any(-1).mean() > 0.9
        for crop in result.crops:
            assert 0 <= crop.top < crop.bottom <= size[0]
            assert 0 <= crop.left < crop.right <= size[1]
        steps = len(growth_steps(SIZE, margins))
        assert (f"painted in {steps} steps" in " ".join(result.notes)) == (steps > 1)

    def test_a_step_knows_what_the_last_one_painted(self, engine):
        asked = []

        class Watched:
            working_size = engine.working_size
            parse = staticmethod(engine.parse)

            def complete(self, photo, mask, parsing=None):
                answer = engine.complete(photo, mask, parsing)
                asked.append((mask, parsing))
                return answer

        photo = synthesize(1, (16, 16)).photo[:12]
        margins = Margins(0, 19)
        result = extrapolate_photo(Watched(), photo, margins)
        assert [mask.shape for mask, _ in asked] == [(20, 16), (31, 16)]
        np.testing.assert_array_equal(asked[1][0].any(1), np.arange(31) >= 20)
        np.testing.assert_array_equal(asked[1][1][20:], result.parsing[20:])
        canvas = np.pad(photo, ((0, 19), (0, 0), (0, 0)), constant_values=128)
        unknown = np.pad(np.zeros((12, 16), np.uint8), ((0, 19), (0, 0)), mode="edge")
        unknown[12:] = 255
        labels, _ = engine.parse(canvas, unknown)
        np.testing.assert_array_equal(asked[0][1][12:], labels[12:20])

    def test_without_margins_the_photo_is_the_result(self, engine):
        photo = synthesize(3, SIZE).photo
        result = extrapolate_photo(engine, photo, Margins())
        np.testing.assert_array_equal(result.completed, photo)
        assert result.parsing.shape == SIZE and "nothing is missing" in result.notes[0]

    def test_the_user_s_map_has_the_result_s_size(self, engine):
        photo, margins = synthesize(3, SIZE).photo, Margins(0, 12, 0, 0)
        coat = np.full((60, 32), LABELS.index("Coat"), np.uint8)
        result = extrapolate_photo(engine, photo, margins, parsing=coat)
        assert (result.parsing[48:] == LABELS.index("Coat")).all()
        long = extrapolate_photo(
            engine, photo, Margins(0, 80), parsing=np.full((128, 32), 7, np.uint8)
        )
        assert (long.parsing[48:] == 7).all() and "2 steps" in long.notes[0]
        other = extrapolate_photo(engine, photo, margins)
        assert (other.completed[48:] != result.completed[48:]).any()
        np.testing.assert_array_equal(other.completed[:48], result.completed[:48])
        with pytest.raises(PortraitError, match="result's size of 60x32"):
            extrapolate_photo(engine, photo, margins, parsing=coat[:48])

    def test_wrong_margins(self, engine):
        photo = synthesize(3, SIZE).photo
        with pytest.raises(PortraitError, match="margins of 0 and above"):
            extrapolate_photo(engine, photo, Margins(0, -1))
        with pytest.raises(PortraitError, match="at most 179 megapixels"):
            extrapolate_photo(engine, photo, Margins(10**8, 0))


class TestWholeBody:
    def test_a_body_fits_its_own_levels(self):
        """Whatever is known of the ends, exact levels give the exact body."""
        for ends in ([None, None], [-30.0, None], [None, 170.0], [-30.0, 170.0]):
            seen = MEANS < 0.6
            found = fit_body(-30 + 200 * MEANS, seen, ends)
            np.testing.assert_allclose(found, (-30, 170), atol=1e-6)

    def test_a_seen_joint_counts_more_than_a_guess(self):
        levels = -30 + 200 * MEANS
        wrong = levels.copy()
        wrong[-1] += 20
        seen = np.ones(6, bool)
        guess = seen.copy()
        guess[-1] = False
        errors = [fit_body(wrong, s, [-30.0, None])[1] - 170 for s in (seen, guess)]
        assert 0 < errors[1] < errors[0] < 25

    @pytest.mark.parametrize("part", [0.85, 0.75, 0.6, 0.5])
    def test_what_is_cut_off_below(self, part):
        errors = []
        for sample, body in whole_people():
            end = round(body.top + part * body.height)
            # With a shoe in the photo, or a boot's leg, a person counts as whole.
            if np.isin(sample.parsing[:end], SHOE_LABELS).any():
                continue
            engine = Clairvoyant(sample, (0, end))
            found = estimate_body(engine, engine.photo)
            assert "bottom" in found.cut and "top" not in found.cut
            errors.append(abs(found.bottom - body.bottom) / body.height)
            margins = whole_body_margins(engine, engine.photo)
            missing = found.bottom - len(engine.photo)
            assert missing < margins.bottom < missing + 0.06 * body.height + 1
            assert margins.top == 0
            assert find_anchor(engine, engine.photo)[0] == 0.0
        # Proportions of synthetic people are not quite those of the constants.
        assert len(errors) >= 4 and np.median(errors) < 0.1

    def test_a_head_that_is_cut_off(self):
        errors = []
        for sample, body in whole_people():
            engine = Clairvoyant(sample, (round(body.top + 0.1 * body.height), 240))
            found = estimate_body(engine, engine.photo)
            assert found.cut == ("top",) and found.top < 0
            errors.append(abs(found.top + engine.rows[0] - body.top) / body.height)
            assert find_anchor(engine, engine.photo) == (1.0, 0.5)
        assert np.median(errors) < 0.1

    def test_a_side_that_is_cut_off(self):
        sample, body = whole_people()[0]
        column = round(body.left + 0.3 * body.width)
        engine = Clairvoyant(sample, (0, 240), (column, 160))
        found = estimate_body(engine, engine.photo)
        assert found.cut == ("left",)
        assert abs(found.left + column - body.left) < 0.05 * body.height
        assert find_anchor(engine, engine.photo) == (0.5, 1.0)

    def test_a_whole_person_needs_nothing(self):
        for sample, body in whole_people():
            engine = Clairvoyant(sample, (0, 240))
            found = estimate_body(engine, engine.photo)
            if min(body.left, 160 - body.right) > 3:
                assert found.cut == ()
                assert abs(found.bottom - body.bottom) < 0.02 * body.height
                assert whole_body_margins(engine, engine.photo) == Margins()
                assert find_anchor(engine, engine.photo) == (0.5, 0.5)

    def test_nobody_and_no_pose(self):
        sample, body = whole_people()[0]

        class Nobody(Clairvoyant):
            def parse(self, photo, mask):
                return np.zeros_like(mask), super().parse(photo, mask)[1]

        class NoPose(Clairvoyant):
            def parse(self, photo, mask):
                return super().parse(photo, mask)[0], None

        rows = (0, round(body.top + 0.6 * body.height))
        with pytest.raises(PortraitError, match="sees nobody"):
            estimate_body(Nobody(sample, rows), sample.photo[slice(*rows)])
        assert cut_sides(Nobody(sample, rows), sample.photo[slice(*rows)]) == ()
        with pytest.raises(PortraitError, match="with a pose"):
            estimate_body(NoPose(sample, rows), sample.photo[slice(*rows)])
        assert "bottom" in cut_sides(NoPose(sample, rows), sample.photo[slice(*rows)])

    @pytest.mark.long
    @pytest.mark.skipif(not CCP.exists(), reason="CCP is not here")
    def test_the_bundled_stage_1_on_real_photos(self, tmp_path):
        """The promise: a median error under 10 % of the body's height."""
        kinds, path = ["whole", "knees", "thighs", "hips", "chin"], tmp_path / "json"
        command = ["-m", "benchmarks.whole_body", "--data", CCP, "--count", 10]
        command += ["--json", path, "--kinds", *kinds]
        python_output(*command, cwd=pathlib.Path(__file__).parents[1])
        rows = {row["crop"]: row for row in json.loads(path.read_text())["summary"]}
        assert all(rows[kind]["median error"] < 10 for kind in kinds)
