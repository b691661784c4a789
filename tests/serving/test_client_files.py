"""Photos and masks as files, looked at before they are sent."""

import io
import pathlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from serving_photos import check_completed, huge_png, make_photo, png

from portrait_tf.errors import PortraitError
from serving.client import PortraitClient, ServerError
from serving.client.pictures import decode_mask, decode_photo, open_file

MAX = 10**6
IMAGE, MASK = make_photo(20, 33)
FORMATS = [("PNG", ".png"), ("JPEG", ".jpg"), ("WebP", ".webp"), ("BMP", ".bmp")]


def encode(array, extension=".png", *options):
    return cv2.imencode(extension, array, options)[1].tobytes()


def with_orientation(extension, orientation):
    """The photo in a file that says how a viewer is to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    name = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[extension]
    options = {"lossless": True} if name == "WEBP" else {}
    Image.fromarray(IMAGE).save(file, name, exif=exif, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def client(target):
    with PortraitClient(target) as client:
        yield client


@pytest.mark.parametrize(("name", "extension"), FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (20, 33), (300, 17)])
def test_each_format(name, extension, size):
    content = encode(np.zeros((*size, 3), np.uint8), extension)
    file = open_file(content, "image", MAX)
    assert (file.format, file.size, file.orientation) == (name, size, 1)
    np.testing.assert_array_equal(decode_photo(file), np.zeros((*size, 3), np.uint8))


def test_a_gif():
    file = io.BytesIO()
    Image.fromarray(MASK[..., 0]).save(file, "GIF")
    picture = open_file(file.getvalue(), "mask", MAX)
    assert (picture.format, picture.size) == ("GIF", (20, 33))
    np.testing.assert_array_equal(decode_mask(picture)[0], MASK[..., 0])
    with pytest.raises(PortraitError, match="the mask is a GIF file that is cut off"):
        open_file(file.getvalue()[:-9], "mask", MAX)


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "L", "1", "I;16"])
def test_other_colors_are_seen_as_tensorflow_sees_them(mode):
    if mode == "I;16":
        image = Image.fromarray(IMAGE[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(IMAGE).convert("L" if mode == "LA" else "RGB")
        image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(MASK[..., 0]))
    file = io.BytesIO()
    image.save(file, "PNG", **({"transparency": bytes(99)} if mode == "P" else {}))
    content = file.getvalue()
    theirs = tf.io.decode_image(content, 3, expand_animations=False).numpy()
    ours = decode_photo(open_file(content, "image", MAX))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("name", "extension"), FORMATS)
def test_every_cut_is_found(name, extension):
    content = encode(IMAGE, extension)
    for length in {*range(30, len(content) - 12, 97), len(content) - 13}:
        with pytest.raises(PortraitError, match=f"{name} file that is cut off or"):
            open_file(content[:length], "image", MAX)


def test_a_cut_file_is_one_clear_sentence(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(IMAGE, ".jpg")[:700])
    with PortraitClient("localhost:1") as client:
        with pytest.raises(PortraitError) as caught:
            client.complete(path, MASK)
        assert str(caught.value) == (
            f"{path} is a JPEG file that is cut off or damaged, of 700 bytes; expected"
            " a whole one"
        )
        with pytest.raises(PortraitError, match="the mask is a PNG file that is cut"):
            client.complete_encoded(encode(IMAGE), encode(MASK)[:-20])


def test_a_bomb_is_not_sent():
    content = huge_png()
    with PortraitClient("localhost:1") as client:
        with pytest.raises(PortraitError, match="has 30000x30000 pixels .* max_pixels"):
            client.complete(content, MASK)
        with pytest.raises(PortraitError, match="the mask has 30000x30000 pixels"):
            client.complete_encoded(encode(IMAGE), content)
    with PortraitClient("localhost:1", max_pixels=600) as client:
        with pytest.raises(PortraitError, match="the image has 20x33 pixels"):
            client.complete(IMAGE, MASK)
        with pytest.raises(PortraitError, match="the extended photo has 40x21 pixels"):
            client.extrapolate(IMAGE[:, :21], bottom=1)


@pytest.mark.parametrize("array_mask", [True, False])
def test_paths_and_bytes(client, tmp_path, array_mask):
    photo, hole = tmp_path / "photo.png", tmp_path / "hole.png"
    photo.write_bytes(png(IMAGE))
    hole.write_bytes(png(MASK))
    for given in (str, pathlib.Path, pathlib.Path.read_bytes):
        mask = MASK if array_mask else given(hole)
        for signature in (None, "encoded", "serving_default"):
            result = client.complete(given(photo), mask, signature=signature)
            check_completed(IMAGE, MASK, result.completed, result.parsing)
        result = client.complete(IMAGE, mask)
        check_completed(IMAGE, MASK, result.completed, result.parsing)


@pytest.mark.parametrize("batch", [None, 3])
def test_arrays_can_be_forced_through_files(client, batch):
    image, mask = make_photo(31, 20, batch)
    result = client.complete(image, mask, signature="encoded")
    check_completed(image, mask, result.completed, result.parsing)
    with pytest.raises(PortraitError, match="signature 'parse' does not complete"):
        client.complete(image, mask, signature="parse")


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_completed_as_it_is_seen(client, orientation, extension):
    content = with_orientation(extension, orientation)
    file = open_file(content, "image", MAX)
    assert file.orientation == orientation
    seen = decode_photo(file)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(seen, np.asarray(turned))
    size = (33, 20) if orientation >= 5 else (20, 33)
    assert seen.shape[:2] == file.size == size
    mask = np.zeros((*size, 1), np.uint8)
    mask[5:9, 3:8] = 255
    result = client.complete(content, mask)
    if orientation == 1 and extension == ".jpg":
        # TensorFlow's decoder and Pillow's round JPEG's colors differently.
        assert np.abs(result.completed.astype(int) - seen)[mask[..., 0] == 0].max() < 9
    else:
        check_completed(seen, mask, result.completed, result.parsing)


def test_an_orientation_behind_the_pixels_of_a_png():
    """Where exiftool writes it."""
    content = with_orientation(".png", 6)
    start = content.index(b"eXIf") - 4
    length = 12 + int.from_bytes(content[start : start + 4], "big")
    block = content[start : start + length]
    moved = content.replace(block, b"")[:-12] + block + content[-12:]
    file = open_file(moved, "image", MAX)
    assert (file.orientation, file.size) == (6, (33, 20))


def test_a_mask_with_the_losses_of_jpeg_is_cut(client):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:37, 11:40] = 255
    lossy = encode(mask, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 60)
    decoded = cv2.imdecode(np.frombuffer(lossy, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert (decoded[mask == 0] > 0).any()
    image, _ = make_photo(64, 64)
    result = client.complete(encode(image[..., ::-1]), lossy)
    kept = decoded <= 127
    np.testing.assert_array_equal(result.completed[kept], image[kept])


def test_a_picture_that_lies(client):
    content = bytearray(encode(IMAGE))
    content[45:-20] = bytes(len(content) - 65)
    with pytest.raises(ServerError) as caught:
        client.complete(bytes(content), MASK)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    with pytest.raises(
        PortraitError, match="the image is a PNG file that is cut off or"
    ):
        client.complete(bytes(content), MASK, signature="serving_default")


def test_a_folder_is_no_photo(client, tmp_path):
    with pytest.raises(PortraitError, match="cannot read the image: Is a directory"):
        client.complete(tmp_path, MASK)
    with pytest.raises(PortraitError, match="cannot read the image"):
        client.complete("a\0b", MASK)
