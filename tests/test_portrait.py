"""The class for Python: whatever kind of picture goes in comes out."""

import io
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from processes import python_output

import portrait_tf
from portrait_tf import Portrait, PortraitError
from portrait_tf.inference.extrapolation import Margins
from portrait_tf.labels import PALETTE, color_parsing
from portrait_tf.photos import open_photo, write_png

SIZE = (64, 64)


@pytest.fixture
def portrait(tiny_engine):
    return Portrait(tiny_engine)


@pytest.fixture
def photo(portraits):
    return portraits[0].photo


@pytest.fixture
def mask():
    hole = np.zeros(SIZE, np.uint8)
    hole[20:50, 20:40] = 255
    return hole


def test_the_package_is_quick_to_import():
    code = (
        "import sys, portrait_tf\n"
        "assert 'Portrait' in dir(portrait_tf)\n"
        "slow = {'tensorflow', 'keras', 'cv2', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "from portrait_tf import Portrait, PortraitError\n"
        "slow = {'tensorflow', 'keras', 'gradio'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "try: Portrait.load(model='none', server='localhost:1')\n"
        "except PortraitError as error: print(error)"
    )
    assert "received both" in python_output("-c", code)
    with pytest.raises(AttributeError, match="no attribute 'Landscape'"):
        portrait_tf.Landscape  # noqa: B018


@pytest.mark.long
def test_networks_load_without_stderr():
    """As in a program without a console, where `sys.stderr` is None."""
    code = (
        "import sys; sys.stderr = None\n"
        "import numpy as np\n"
        "from portrait_tf import Portrait\n"
        "photo, hole = np.zeros((64, 48, 3), np.uint8), np.zeros((64, 48), np.uint8)\n"
        "hole[9:20, 9:20] = 255\n"
        "print(Portrait.load().complete(photo, hole).completed.shape)\n"
    )
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "(64, 48, 3)")


def test_arrays_give_arrays(portrait, photo, mask):
    result = portrait.complete(photo, mask)
    assert result.completed.dtype == np.uint8 and result.completed.shape == (*SIZE, 3)
    assert result.parsing.dtype == np.uint8 and result.parsing.shape == SIZE
    assert (result.completed[mask == 0] == photo[mask == 0]).all()
    assert (result.completed[mask > 0] != photo[mask > 0]).any()
    assert all(isinstance(note, str) for note in result.notes)
    same = portrait.complete(photo, mask > 0).completed
    np.testing.assert_array_equal(same, result.completed)


@pytest.mark.parametrize("channels", [0, 1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_keep_type_and_channels(portrait, photo, mask, channels, dtype):
    pixels = np.dstack([photo, photo[..., :1]]).astype(dtype)
    pixels *= 257 if dtype == np.uint16 else 1
    pixels = pixels[..., :channels] if channels else pixels[..., 0]
    result = portrait.complete(pixels, mask)
    assert result.completed.dtype == dtype
    assert result.completed.shape == pixels.shape
    assert (result.completed[mask == 0] == pixels[mask == 0]).all()
    assert (result.completed[mask > 0] != pixels[mask > 0]).any()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_images_give_images(portrait, photo, mask, mode):
    image = Image.fromarray(photo).convert(mode)
    image.info["icc_profile"] = b"a profile"
    result = portrait.complete(image, Image.fromarray(mask))
    assert result.completed.mode == mode and result.completed.size == image.size
    assert result.completed.info["icc_profile"] == b"a profile"
    ours, theirs = np.asarray(result.completed), np.asarray(image)
    assert (ours[mask == 0] == theirs[mask == 0]).all()
    assert (ours[mask > 0] != theirs[mask > 0]).any()
    assert result.parsing.mode == "P"
    shown = np.asarray(result.parsing.convert("RGB"))
    np.testing.assert_array_equal(shown, color_parsing(np.asarray(result.parsing)))


def test_files_give_images_and_save_as_the_command_line_does(
    portrait, photo, mask, tmp_path
):
    """The same bytes, EXIF and tables included, in the photo's format and another."""
    from portrait_tf.apps.folders import Job, write_completion

    path, mask_path = tmp_path / "photo.jpg", tmp_path / "mask.png"
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a camera"
    turned = Image.fromarray(photo).rotate(90)
    turned.save(path, quality=85, exif=exif)
    write_png(mask_path, mask)
    result = portrait.complete(path, str(mask_path))
    assert isinstance(result.completed, Image.Image) and result.completed.mode == "RGB"
    upright = open_photo(path).rgb()
    known = np.asarray(result.completed)[mask == 0]
    np.testing.assert_array_equal(known, upright[mask == 0])
    for name, format in (("whole.jpg", "JPEG"), ("whole.png", "PNG")):
        result.save(tmp_path / name)
        job = Job(path, tmp_path / f"job_{name}", mask_path, format=format)
        write_completion(portrait.complete(path, mask_path), job)
        assert (tmp_path / name).read_bytes() == job.out.read_bytes()
    with pytest.raises(PortraitError, match="expected an extension"):
        result.save(tmp_path / "whole.gif")


def test_transparent_parts_are_the_hole_without_a_mask(portrait, photo, mask):
    cutout = np.dstack([photo, 255 - mask])
    result = portrait.complete(cutout)
    assert (result.completed[..., 3] == 255).all()
    assert (result.completed[mask == 0] == cutout[mask == 0]).all()
    with pytest.raises(PortraitError, match="alpha"):
        portrait.complete(photo)


def test_extrapolate(portrait, photo, tmp_path):
    result = portrait.extrapolate(photo, bottom=0.5, left=0.25)
    assert result.completed.shape == (96, 80, 3)
    np.testing.assert_array_equal(result.completed[:64, 16:], photo)
    pixels = portrait.extrapolate(photo, margins=Margins(bottom=32, left=16))
    np.testing.assert_array_equal(pixels.completed, result.completed)
    image = portrait.extrapolate(Image.fromarray(photo), bottom=0.5, left=0.25)
    np.testing.assert_array_equal(np.asarray(image.completed), result.completed)
    result.save(tmp_path / "whole.png")
    np.testing.assert_array_equal(
        open_photo(tmp_path / "whole.png").pixels, result.completed
    )
    for mistake in ({}, {"top": -0.1}, {"right": 9.0}, {"left": 0.001}):
        with pytest.raises(PortraitError, match="expected"):
            portrait.extrapolate(photo, **mistake)
    with pytest.raises(PortraitError, match="not both"):
        portrait.extrapolate(photo, top=0.1, margins=Margins(top=6))


def test_margins_as_the_command_line_takes_them(portrait, photo):
    expected = portrait.extrapolate(photo, bottom=0.5, left=0.25).completed
    for bottom, left in (("50%", "25%"), ("32px", "0.25"), (np.float32(0.5), "16px")):
        result = portrait.extrapolate(photo, bottom=bottom, left=left)
        np.testing.assert_array_equal(result.completed, expected)
    for bottom, words in (
        ("much", "'bottom'.*30%.*200px, received 'much'"),
        (None, "'bottom'.* number .*received None"),
        ("0px", "at least one margin"),
        (10**400, "'bottom' is inf times"),
    ):
        with pytest.raises(PortraitError, match=words):
            portrait.extrapolate(photo, bottom=bottom)
    with pytest.raises(PortraitError, match="not both"):
        portrait.extrapolate(photo, top="6px", margins=Margins(top=6))
    for margins in ((1, 2, 3, 4), 5, Margins("a"), Margins(1.5)):
        with pytest.raises(PortraitError, match="expected whole pixels such as"):
            portrait.extrapolate(photo, margins=margins)
    with pytest.raises(PortraitError, match="'top' is inf times"):
        portrait.extrapolate(photo, margins=Margins(10**400))


@pytest.mark.parametrize("given", [{"count": 2.5}, {"count": "a"}, {"seed": -1}])
def test_numbers_of_candidates(portrait, photo, mask, given):
    ((name, value),) = given.items()
    with pytest.raises(PortraitError, match=f"or more, received {value!r}"):
        portrait.candidates(photo, mask, **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": 5}, "the folder of an exported model, received 5"),
        ({"model": ""}, "the folder of an exported model, received ''"),
        ({"server": ""}, "the server '' is no address"),
        ({"model": "a", "server": ""}, "received both"),
    ],
)
def test_engines_that_cannot_be(given, words):
    with pytest.raises(PortraitError, match=words):
        Portrait.load(**given)


class TestOpenFiles:
    def test_what_is_read_and_written_is_what_files_give(
        self, portrait, photo, mask, tmp_path
    ):
        write_png(tmp_path / "photo.png", photo)
        write_png(tmp_path / "mask.png", mask)
        result = portrait.complete(tmp_path / "photo.png", tmp_path / "mask.png")
        result.save(tmp_path / "o.jpg", quality=80)
        with (
            open(tmp_path / "photo.png", "rb") as one,
            open(tmp_path / "mask.png", "rb") as other,
        ):
            same = portrait.complete(one, other)
        for given in ({"format": "jpeg"}, {"format": ".JPG"}):
            file = io.BytesIO()
            same.save(file, quality=80, **given)
            assert file.getvalue() == (tmp_path / "o.jpg").read_bytes()
        with open(tmp_path / "named.jpg", "wb") as file:
            same.save(file, quality=80)
        assert (tmp_path / "named.jpg").read_bytes() == (
            tmp_path / "o.jpg"
        ).read_bytes()
        # Else it is the format of the photo's own file.
        file = io.BytesIO()
        same.save(file)
        assert file.getvalue().startswith(b"\x89PNG")
        same.save(tmp_path / "no extension", format="webp")
        assert open_photo(tmp_path / "no extension").format == "WEBP"

    def test_mistakes(self, portrait, photo, mask, tmp_path):
        result = portrait.complete(photo, mask)
        with pytest.raises(PortraitError, match="expected format=, such as 'png'"):
            result.save(io.BytesIO())
        with pytest.raises(PortraitError, match="a format of jpeg, .*received 'gif89'"):
            result.save(io.BytesIO(), format="gif89")
        with pytest.raises(PortraitError, match="a file open for bytes, received int"):
            result.save(3)
        with pytest.raises(PortraitError, match="a file open for bytes, cannot write"):
            result.save(io.StringIO(), format="png")
        with pytest.raises(PortraitError, match="photo: expected .*received StringIO"):
            portrait.complete(io.StringIO("text"), mask)
        file = io.BytesIO(b"a photo")
        file.seek(0, io.SEEK_END)
        with pytest.raises(PortraitError, match="photo: .*received one at its end"):
            portrait.complete(file, mask)
        file.close()
        with pytest.raises(PortraitError, match="mask: cannot read the open file"):
            portrait.complete(photo, file)
        with pytest.raises(PortraitError, match="a quality of 1 to 100, received 'a'"):
            result.save(tmp_path / "o.jpg", quality="a")


def test_a_map_of_ones_own(portrait, photo, mask, tmp_path):
    """As array, as image with a palette, as colored or plain file: all the same."""
    free = portrait.complete(photo, mask)
    own = np.full(SIZE, 255, np.uint8)
    own[mask > 0] = 9
    result = portrait.complete(photo, mask, parsing=own)
    assert (result.completed != free.completed).any()
    assert (result.completed[mask == 0] == photo[mask == 0]).all()

    labels = portrait.parse(photo, mask).parsing.copy()
    labels[mask > 0] = 9
    with_palette = Image.fromarray(labels)
    with_palette.putpalette(PALETTE.tobytes())
    with_palette.save(tmp_path / "palette.png")
    Image.fromarray(labels).save(tmp_path / "plain.png")
    Image.fromarray(color_parsing(labels)).save(tmp_path / "colors.png")
    expected = portrait.complete(photo, mask, parsing=labels).completed
    for name in ("palette", "plain", "colors"):
        again = portrait.complete(photo, mask, parsing=tmp_path / f"{name}.png")
        np.testing.assert_array_equal(again.completed, expected)
    again = portrait.complete(photo, mask, parsing=with_palette)
    np.testing.assert_array_equal(again.completed, expected)

    for wrong, message in (
        (labels[1:], "64x64"),
        (labels / 2, "uint8, received float64"),
        (Image.fromarray(photo), "LIP's colors"),
        (tmp_path / "none.png", "none.png"),
    ):
        with pytest.raises(PortraitError, match=message):
            portrait.complete(photo, mask, parsing=wrong)


def test_parse(portrait, photo, mask):
    whole = portrait.parse(photo)
    assert whole.parsing.shape == SIZE and whole.parsing.max() < 20
    assert whole.joints.shape == (16, 3)
    holed = portrait.parse(Image.fromarray(photo), mask)
    assert holed.parsing.mode == "P" and holed.parsing.size == SIZE
    large = cv2.resize(photo, (2500, 2400))
    found = portrait.parse(large)
    assert found.parsing.shape == (2400, 2500)
    assert (found.joints[:, :2] <= (2500, 2400)).all()
    assert found.joints[:, 0].max() > 64


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8, 5), np.uint8), r"\[8, 8, 5\]"),
        (np.zeros((0, 8, 3), np.uint8), r"\[0, 8, 3\]"),
        (Image.new("F", (8, 8)), "8 or 16 bits, received .* mode F"),
        ([[1, 2], [3, 4]], "list"),
        ("none.png", "none.png"),
    ],
)
def test_mistakes(portrait, photo, message):
    with pytest.raises(PortraitError, match=message):
        portrait.complete(photo, np.ones((8, 8), np.uint8))
