"""Requests merged by the embedded server, seen through a model that says so."""

import concurrent.futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_calls import refused
from processes import wait_until
from server_calls import call_rest
from serving_photos import check_completed, make_photo, png

from portrait_tf.errors import PortraitError
from serving.local_server.batching import BatchingParameters


def parameters(allowed=(), pad=None, splits=None, **values):
    """A text proto of BatchingParameters."""
    lines = [f"{name} {{ value: {value} }}" for name, value in values.items()]
    lines += [f"allowed_batch_sizes: {size}" for size in allowed]
    if pad is not None:
        lines.append(f"pad_variable_length_inputs: {str(pad).lower()}")
    if splits is not None:
        lines.append(f"enable_large_batch_splitting {{ value: {str(splits).lower()} }}")
    return "\n".join(lines)


@pytest.fixture
def batched(publish, serve, stamp_client, tmp_path):
    """Serves a model, `Stamp` by default, with batching; gives a client."""

    def start(folder=None, **values):
        path = tmp_path / "batching.txt"
        path.write_text(parameters(**values))
        server = serve(
            folder or publish(1),
            model_name="stamp",
            enable_batching=True,
            batching_parameters_file=str(path),
            grpc_max_threads=16,
        )
        client = stamp_client(server)
        client.server = server
        return client

    return start


def together(*calls):
    """Results, or errors, of calls made at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.exception() or future.result() for future in futures]


# Long: whoever waits for it fails the test by its own time limit.
LONG = 60_000_000


def test_requests_are_merged_and_each_gets_its_own_rows(batched):
    client = batched(max_batch_size=5, batch_timeout_micros=LONG)
    answers = together(
        *(lambda i=i: client.stamp([[i, 0.5]]) for i in range(3)),
        lambda: client.stamp([[10, 1], [20, 2]]),
    )
    for index, (_, outputs) in enumerate(answers[:3]):
        assert outputs["batch"].tolist() == [5]
        assert outputs["total"].tolist() == [index + 0.5]
    assert answers[3][1]["total"].tolist() == [11, 22]
    assert answers[3][1]["batch"].tolist() == [5, 5]


def test_rest_and_grpc_are_merged(batched):
    client = batched(max_batch_size=2, batch_timeout_micros=LONG)

    def ask_rest():
        return call_rest(
            client.server, "/v1/models/stamp:predict", {"instances": [[3, 4]]}
        )

    (_, outputs), answer = together(lambda: client.stamp([[1, 2]]), ask_rest)
    assert outputs["batch"].tolist() == [2] and outputs["total"].tolist() == [3]
    assert answer == (200, {"predictions": [{"batch": 2, "total": 7.0, "width": 2}]})


def test_a_batch_goes_when_its_first_request_waited_long_enough(batched):
    client = batched(max_batch_size=100, batch_timeout_micros=1000)
    assert client.stamp([[1.0]])[1]["batch"].tolist() == [1]


def test_allowed_batch_sizes_are_padded_to(batched):
    client = batched(max_batch_size=8, batch_timeout_micros=0, allowed=[2, 4, 8])
    for rows, expected in ((1, 2), (2, 2), (3, 4), (5, 8)):
        _, outputs = client.stamp(np.arange(rows)[:, None])
        assert outputs["batch"].tolist() == [expected] * rows
        assert outputs["total"].tolist() == list(range(rows))


@pytest.mark.parametrize("pad", [False, True])
def test_requests_that_differ_in_size_fail_together_or_are_padded(batched, pad):
    client = batched(max_batch_size=2, batch_timeout_micros=LONG, pad=pad)
    answers = together(
        lambda: client.stamp([[1.0, 2.0]]), lambda: client.stamp([[1.0, 2.0, 3.0]])
    )
    if pad:
        assert [outputs["width"].tolist() for _, outputs in answers] == [[3], [3]]
        assert [outputs["total"].tolist() for _, outputs in answers] == [[3.0], [6.0]]
        return
    for error in answers:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "have different shapes and padding is turned off" in error.details()


def test_a_request_larger_than_a_batch(batched):
    client = batched(max_batch_size=4, batch_timeout_micros=0)
    assert refused(client.stamp, np.zeros((10, 1))) == (
        "INVALID_ARGUMENT",
        "Task size 10 is larger than maximum input batch size 4",
    )


def test_or_is_split(batched):
    client = batched(
        max_batch_size=64, max_execution_batch_size=4, splits=True,
        batch_timeout_micros=0,
    )  # fmt: skip
    _, outputs = client.stamp(np.arange(10)[:, None])
    assert outputs["batch"].tolist() == [4] * 8 + [2] * 2
    assert outputs["total"].tolist() == list(range(10))


def test_a_full_queue(batched):
    client = batched(
        max_batch_size=1, batch_timeout_micros=0, max_enqueued_batches=1,
        num_batch_threads=1,
    )  # fmt: skip
    # The first takes the thread, the second the queue's place.
    running = client.wait(5.0)
    wait_until(lambda: "wrapped_run_count{} 1\n" in client.server._metrics.page())
    waiting = client.wait(0.0)
    wait_until(lambda: client.server._batching._queues)
    assert refused(client.wait(0.0).result) == (
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full",
    )
    assert running.result() and waiting.result()


def test_deadlines_hold_in_the_queue(batched):
    client = batched(max_batch_size=100, batch_timeout_micros=500_000)
    for seconds, timeout in ((0.0, 0.2), (10.0, 0.9)):
        late = client.wait(seconds, timeout=timeout)
        assert refused(late.result)[0] == "DEADLINE_EXCEEDED"
    assert client.version() == 1


def test_signatures_and_outputs_are_not_mixed(batched):
    client = batched(max_batch_size=2, batch_timeout_micros=300_000)
    (_, whole), (_, part) = together(
        lambda: client.stamp([[1.0]]),
        lambda: client.stamp([[1.0]], outputs=["batch"]),
    )
    assert list(part) == ["batch"]
    assert whole["batch"].tolist() == part["batch"].tolist() == [1]


def test_a_stop_waits_for_no_further_requests(batched):
    client = batched(max_batch_size=100, batch_timeout_micros=LONG)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.stamp, [[1.0, 2.0]])
        wait_until(lambda: client.server._batching._queues)
        client.server.stop()
        assert answer.result()[1]["total"].tolist() == [3.0]


def test_an_empty_batch_runs_by_itself(batched):
    client = batched(max_batch_size=2, batch_timeout_micros=LONG)
    _, outputs = client.stamp(np.zeros((0, 3)))
    assert outputs["total"].shape == (0,)


def test_encoded_photos_of_different_sizes_are_merged(models_dir, batched):
    client = batched(models_dir, max_batch_size=2, batch_timeout_micros=LONG)

    def complete(image, mask):
        files = {"image_bytes": [png(image)], "mask_bytes": [png(mask)]}
        request = client.request("encoded", **files)
        outputs = client.prediction.Predict(request, timeout=30).outputs
        completed, parsing = (
            tf.io.decode_png(outputs[name].string_val[0]).numpy()
            for name in ("completed_bytes", "parsing_bytes")
        )
        check_completed(image, mask, completed, parsing)

    photos = [make_photo(20, 30), make_photo(41, 13, seed=1)]
    done = together(*(lambda photo=photo: complete(*photo) for photo in photos))
    assert done == [None, None]
    page = client.server._metrics.page()
    assert "batching_session:wrapped_run_count{} 1\n" in page


def test_a_versions_own_parameters(publish, serve, stamp_client):
    own = parameters(max_batch_size=3, batch_timeout_micros=0, allowed=[3])
    settings = {"model_name": "stamp", "enable_batching": True}
    folder, flag = publish(1, batching=own), "enable_per_model_batching_parameters"
    for value, expected in ((True, 3), (False, 1)):
        server = serve(folder, **settings, **{flag: value})
        assert stamp_client(server).stamp([[1.0]])[1]["batch"].tolist() == [expected]
    path = folder / "1" / "batching_params.pbtxt"
    path.write_text("max_batch_sise { value: 3 }")
    with pytest.raises(PortraitError, match=f'"max_batch_sise".*{path}'):
        serve(folder, **settings, **{flag: True})


def test_outputs_without_a_batch_are_refused(tmp_path, batched):
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": tf.reduce_sum(x)},
        input_signature=[tf.TensorSpec([None], tf.float32, "x")],
    )
    tf.saved_model.save(module, str(tmp_path / "sum" / "1"), module.call)
    client = batched(tmp_path / "sum", max_batch_size=2, batch_timeout_micros=0)
    code, details = refused(client.stamp, [1.0])
    assert code == "FAILED_PRECONDITION" and "has 0 dimensions" in details


def test_parameters_are_read_and_checked(tmp_path):
    path = tmp_path / "batching.txt"

    def read(**values):
        path.write_text(parameters(**values))
        return BatchingParameters.read(path)

    found = read(max_batch_size=8, num_batch_threads=3, allowed=[1, 8], pad=True)
    assert found.max_batch_size == 8 and found.num_batch_threads == 3
    assert found.allowed_batch_sizes == (1, 8) and found.pad_variable_length_inputs
    assert found.max_enqueued_batches == 10  # TensorFlow Serving's default.
    for values, phrase in (
        ({"max_batch_size": 8, "allowed": [1, 4]}, "last entry was 4; expected 8"),
        ({"max_batch_size": 8, "allowed": [8, 8]}, "monotonically increasing"),
        ({"max_batch_size": 0}, "max_batch_size is 0; expected at least 1"),
        (
            {"batch_timeout_micros": "soon"},
            "Error parsing text-format tensorflow.serving.BatchingParameters: 1:",
        ),
    ):
        with pytest.raises(PortraitError) as caught:
            read(**values)
        assert str(path) in str(caught.value) and phrase in str(caught.value)
