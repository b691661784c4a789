"""Photos and masks as files, looked at before they are sent."""

import cv2
import numpy as np
import pytest
from serving_photos import check_completed, make_photo

from portrait_tf.errors import PortraitError
from serving.client import PortraitClient, ServerError
from serving.client.pictures import decode_photo, open_file, read_header, shown_size

MAX = 10**6
IMAGE, MASK = make_photo(20, 33)
FORMATS = [("PNG", ".png"), ("JPEG", ".jpg"), ("WebP", ".webp"), ("BMP", ".bmp")]


def encode(array, extension=".png", *options):
    return cv2.imencode(extension, array, options)[1].tobytes()


def with_orientation(jpeg, orientation):
    """A JPEG with an EXIF block of one entry after its first two bytes."""
    tiff = b"MM\0\x2a\0\0\0\x08\0\x01" + bytes([1, 0x12, 0, 3, 0, 0, 0, 1])
    tiff += bytes([0, orientation, 0, 0]) + b"\0\0\0\0"
    block = b"Exif\0\0" + tiff
    return (
        jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]
    )


@pytest.fixture(scope="module")
def client(target):
    with PortraitClient(target) as client:
        yield client


@pytest.mark.parametrize(("name", "extension"), FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (20, 33), (300, 17)])
def test_header_of_each_format(name, extension, size):
    content = encode(np.zeros((*size, 3), np.uint8), extension)
    header = read_header(content)
    assert (header.format, header.size, header.is_whole) == (name, size, True)
    assert header.orientation == 1


@pytest.mark.parametrize("options", [(cv2.IMWRITE_WEBP_QUALITY, 101), ()])
def test_header_of_a_webp_without_and_with_loss(options):
    content = encode(make_photo(70, 301)[0], ".webp", *(options or (64, 50)))
    assert read_header(content).size == (70, 301)


def test_header_of_a_gif():
    pixel = b"\x2c\0\0\0\0\x05\0\x07\0\0\x02\x02\x44\x01\0\x3b"
    content = b"GIF89a\x05\0\x07\0\x80\0\0\0\0\0\xff\xff\xff" + pixel
    header = read_header(content)
    assert (header.size, header.is_whole) == ((7, 5), True)
    assert not read_header(content[:-1]).is_whole


@pytest.mark.parametrize(("name", "extension"), FORMATS)
def test_every_cut_is_found(name, extension):
    content = encode(IMAGE, extension)
    for length in {*range(30, len(content) - 12, 97), len(content) - 13}:
        with pytest.raises(PortraitError, match=f"{name} file that is cut off after"):
            open_file(content[:length], "image", MAX)


def test_a_cut_file_is_one_clear_sentence(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(IMAGE, ".jpg")[:700])
    with PortraitClient("localhost:1") as client:
        with pytest.raises(PortraitError) as caught:
            client.complete(path, MASK)
        assert str(caught.value) == (
            f"{path} is a JPEG file that is cut off after 700 bytes; expected a whole"
            " one"
        )
        with pytest.raises(PortraitError, match="the mask is a PNG file that is cut"):
            client.complete_encoded(encode(IMAGE), encode(MASK)[:-20])


def test_a_bomb_is_not_sent():
    # 30000 x 30000 of one colour: 110 kB that unfold to 2.7 GB.
    rows = np.zeros((1, 30000), np.uint8)
    content = bytearray(encode(rows))
    content[20:24] = (30000).to_bytes(4, "big")
    with PortraitClient("localhost:1") as client:
        with pytest.raises(PortraitError, match="has 30000x30000 pixels .* max_pixels"):
            client.complete(bytes(content), MASK)
        with pytest.raises(PortraitError, match="the mask has 30000x30000 pixels"):
            client.complete_encoded(encode(IMAGE), bytes(content))
    with PortraitClient("localhost:1", max_pixels=600) as client:
        with pytest.raises(PortraitError, match="the image has 20x33 pixels"):
            client.complete(IMAGE, MASK)
        with pytest.raises(PortraitError, match="the extended photo has 40x21 pixels"):
            client.extrapolate(IMAGE[:, :21], bottom=1)


@pytest.mark.parametrize("as_path", [str, lambda path: path, lambda p: p.read_bytes()])
@pytest.mark.parametrize("array_mask", [True, False])
def test_paths_and_bytes(client, tmp_path, as_path, array_mask):
    photo, hole = tmp_path / "photo.png", tmp_path / "hole.png"
    photo.write_bytes(encode(IMAGE[..., ::-1]))
    hole.write_bytes(encode(MASK))
    mask = MASK if array_mask else as_path(hole)
    for signature in (None, "encoded", "serving_default"):
        result = client.complete(as_path(photo), mask, signature=signature)
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_completed_as_it_is_seen(client, orientation):
    jpeg = with_orientation(encode(IMAGE[..., ::-1], ".jpg"), orientation)
    file = open_file(jpeg, "image", MAX)
    assert file.header.orientation == orientation
    seen = decode_photo(file)
    size = (33, 20) if orientation >= 5 else (20, 33)
    assert seen.shape[:2] == shown_size(file.header) == size
    mask = np.zeros((*size, 1), np.uint8)
    mask[5:9, 3:8] = 255
    result = client.complete(jpeg, mask)
    if orientation == 1:
        # TensorFlow's decoder and OpenCV's round JPEG's colours differently.
        assert np.abs(result.completed.astype(int) - seen)[mask[..., 0] == 0].max() < 9
    else:
        check_completed(seen, mask, result.completed, result.parsing)


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
    with pytest.raises(PortraitError, match="the image: expected a whole p"):
        client.complete(bytes(content), MASK, signature="serving_default")


def test_a_folder_is_no_photo(client, tmp_path):
    with pytest.raises(PortraitError, match="cannot read the image: Is a directory"):
        client.complete(tmp_path, MASK)
    with pytest.raises(PortraitError, match="cannot read the image"):
        client.complete("a\0b", MASK)
