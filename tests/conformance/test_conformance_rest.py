"""The REST API: row and column forms, base64, status, metadata, errors."""

import numpy as np
import pytest
from conformance_calls import (
    b64,
    check_completed,
    make_photo,
    predict,
    unb64,
)
from export_photos import decode as unpng
from grpc_calls import make_request
from serving_photos import png

IMAGE, MASK = make_photo(24, 20, batch=2)
FILES = {"image_bytes": png(IMAGE[0]), "mask_bytes": png(MASK[0])}
ROW = {"image": IMAGE[0].tolist(), "mask": MASK[0].tolist()}


@pytest.fixture
def path(model):
    return f"/v1/models/{model}"


def as_array(values):
    return np.array(values, np.uint8)


def test_rows(rest, path, needs):
    needs("serving_default")
    rows = [
        {"image": image.tolist(), "mask": mask.tolist()}
        for image, mask in zip(IMAGE, MASK, strict=True)
    ]
    status, body = rest.call("POST", f"{path}:predict", {"instances": rows})
    assert status == 200, body
    assert list(body) == ["predictions"] and len(body["predictions"]) == 2
    for row, image, mask in zip(body["predictions"], IMAGE, MASK, strict=True):
        assert set(row) == {"completed", "parsing"}
        check_completed(
            image, mask, as_array(row["completed"]), as_array(row["parsing"])
        )


def test_columns(rest, path, needs, metadata):
    needs("serving_default")
    columns = {"image": IMAGE.tolist(), "mask": MASK.tolist()}
    for place in (path, f"{path}/versions/{metadata[0]}"):
        status, body = rest.call("POST", f"{place}:predict", {"inputs": columns})
        assert status == 200, body
        assert list(body) == ["outputs"]
        assert set(body["outputs"]) == {"completed", "parsing"}
        arrays = {name: as_array(value) for name, value in body["outputs"].items()}
        check_completed(IMAGE, MASK, **arrays)


def test_rest_answers_as_grpc_does(rest, path, prediction, model, needs):
    needs("serving_default")
    columns = {"image": IMAGE.tolist(), "mask": MASK.tolist()}
    _, body = rest.call("POST", f"{path}:predict", {"inputs": columns})
    expected, _ = predict(prediction, make_request(model, image=IMAGE, mask=MASK))
    for name, value in expected.items():
        np.testing.assert_array_equal(as_array(body["outputs"][name]), value)


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_base64(rest, path, needs, form):
    needs("encoded")
    encoded = {name: b64(content) for name, content in FILES.items()}
    if form == "instances":
        payload = [encoded, encoded]
    else:
        payload = {name: [value, value] for name, value in encoded.items()}
    status, body = rest.call(
        "POST", f"{path}:predict", {"signature_name": "encoded", form: payload}
    )
    assert status == 200, body
    for index in range(2):
        completed, parsing = (
            body["predictions"][index][name]
            if form == "instances"
            else body["outputs"][name][index]
            for name in ("completed_bytes", "parsing_bytes")
        )
        check_completed(
            IMAGE[0], MASK[0], unpng(unb64(completed)), unpng(unb64(parsing))
        )


def test_base64_in_lines_and_without_padding(rest, path, needs):
    needs("encoded")
    row = {}
    for name, content in FILES.items():
        text = b64(content)["b64"].rstrip("=")
        lines = [text[start : start + 76] for start in range(0, len(text), 76)]
        row[name] = {"b64": "\r\n".join(lines)}
    document = {"signature_name": "encoded", "instances": [row]}
    status, body = rest.call("POST", f"{path}:predict", document)
    assert status == 200, body
    found = body["predictions"][0]
    completed, parsing = (
        unpng(unb64(found[name])) for name in ("completed_bytes", "parsing_bytes")
    )
    check_completed(IMAGE[0], MASK[0], completed, parsing)


def test_one_output_comes_bare(rest, path, needs):
    needs("complete_with_parsing")
    row = {**ROW, "parsing": np.full_like(MASK[0], 255).tolist()}
    document = {"signature_name": "complete_with_parsing", "instances": [row]}
    status, body = rest.call("POST", f"{path}:predict", document)
    assert status == 200, body
    check_completed(IMAGE[0], MASK[0], as_array(body["predictions"][0]))


def test_status(rest, path, metadata):
    for place in (path, f"{path}/versions/{metadata[0]}"):
        status, body = rest.call("GET", place)
        assert status == 200 and list(body) == ["model_version_status"]
        assert {
            "version": str(metadata[0]),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        } in body["model_version_status"]


def test_metadata(rest, path, model, metadata):
    for place in (f"{path}/metadata", f"{path}/versions/{metadata[0]}/metadata"):
        status, body = rest.call("GET", place)
        assert status == 200
        assert body["model_spec"]["name"] == model
        assert body["model_spec"]["version"] == str(metadata[0])
        found = body["metadata"]["signature_def"]["signature_def"]
        assert set(found) == set(metadata[1])
        for name, definition in metadata[1].items():
            for kind in ("inputs", "outputs"):
                assert set(found[name][kind]) == set(getattr(definition, kind))
            for tensor, info in definition.inputs.items():
                described = found[name]["inputs"][tensor]
                assert described["name"] == info.name
                assert [int(d["size"]) for d in described["tensor_shape"]["dim"]] == [
                    dim.size for dim in info.tensor_shape.dim
                ]


REFUSED = {
    "an unknown model": (
        "/v1/models/no_such:predict", {"instances": [ROW]}, 404, "no_such",
    ),
    "an unknown version": (
        "{path}/versions/1000000000:predict", {"instances": [ROW]}, 404, "1000000000",
    ),
    "an unknown label": (
        "{path}/labels/no_such:predict", {"instances": [ROW]}, 400, "no_such",
    ),
    "no JSON": ("{path}:predict", b"{", 400, "JSON Parse error"),
    "a list": ("{path}:predict", [ROW], 400, "Is not object"),
    "neither form": ("{path}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    "both forms": (
        "{path}:predict", {"instances": [ROW], "inputs": ROW}, 400,
        "only one of 'inputs' or 'instances' keys",
    ),
    "no rows": (
        "{path}:predict", {"instances": []}, 400, "No values in 'instances' array",
    ),
    "rows that are no list": (
        "{path}:predict", {"instances": ROW}, 400, "'instances' to be an list/array",
    ),
    "rows of two kinds": (
        "{path}:predict", {"instances": [ROW, 1]}, 400,
        "Expecting object but got list at item 1 of input list",
    ),
    "a signature that is no string": (
        "{path}:predict", {"signature_name": 1, "instances": [ROW]}, 400,
        "'signature_name' key must be a string value",
    ),
    "an unknown signature": (
        "{path}:predict", {"signature_name": "no_such", "instances": [ROW]}, 400,
        "no_such",
    ),
    "a missing input": (
        "{path}:predict", {"instances": [{"image": ROW["image"]}]}, 400,
        "keys must be equal to: image,mask",
    ),
    "a missing column": (
        "{path}:predict", {"inputs": {"image": [ROW["image"]]}}, 400,
        "Missing named input: mask in 'inputs' object.",
    ),
    "a number that is none": (
        "{path}:predict", {"instances": [{**ROW, "mask": "white"}]}, 400,
        "is not of expected type: uint8",
    ),
    "a fraction for a uint8": (
        "{path}:predict", {"instances": [{**ROW, "mask": [[[0.5]]]}]}, 400,
        "is not of expected type: uint8",
    ),
    "a list that is not even": (
        "{path}:predict", {"instances": [{**ROW, "mask": [[[1], [1]], [[1]]]}]}, 400,
        "Encountered list at unexpected size",
    ),
    "a mask of another size": (
        "{path}:predict", {"instances": [{**ROW, "mask": [[[1]]]}]}, 400, "",
    ),
    "base64 that is none": (
        "{path}:predict",
        {"signature_name": "encoded",
         "instances": [{"image_bytes": {"b64": "*"}, "mask_bytes": {"b64": "*"}}]},
        400, "Unable to base64 decode",
    ),
    "a file that is no picture": (
        "{path}:predict",
        {"signature_name": "encoded",
         "instances": [{"image_bytes": b64(b"x"), "mask_bytes": b64(b"x")}]},
        400, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(rest, path, needs, name):
    place, body, expected, phrase = REFUSED[name]
    needs("encoded" if "signature_name': 'encoded" in str(body) else "serving_default")
    status, answer = rest.call("POST", place.format(path=path), body)
    assert status == expected, answer
    assert list(answer) == ["error"] and phrase in answer["error"]
    assert rest.call("GET", path)[0] == 200


@pytest.mark.parametrize(
    ("method", "place", "expected", "phrase"),
    [
        ("GET", "/v1/models/no_such", 404, "Could not find any versions of model"),
        ("GET", "{path}/versions/1000000000", 404, "Could not find version"),
        ("GET", "/v1/models/no_such/metadata", 404, "no_such"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "{path}/versions/one", 400, "Malformed request"),
        ("GET", "{path}:predict", 400, "Malformed request"),
        ("POST", "{path}:no_such", 400, "Malformed request"),
        ("POST", "{path}", 400, "Malformed request"),
    ],
)
def test_other_paths(rest, path, method, place, expected, phrase):
    body = b"{}" if method == "POST" else None
    status, answer = rest.call(method, place.format(path=path), body)
    assert (status, list(answer)) == (expected, ["error"]), answer
    assert phrase in answer["error"]
