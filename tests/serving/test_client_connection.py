"""Retries, headers, TLS, statuses and streams, over real connections."""

import concurrent.futures
import contextlib
import pathlib
import time

import grpc
import numpy as np
import pytest
from blocking_client import BlockingClient
from processes import wait_until
from serving_photos import check_completed, make_photo
from wire import Script, scripted, server_context, tls_before

from portrait_tf.errors import PortraitError
from serving.client import (
    CancelledError,
    DeadlineExceededError,
    Keepalive,
    MessageTooLargeError,
    PortraitClient,
    RetryPolicy,
    ServerError,
    Tls,
    UnavailableError,
    errors,
)

IMAGE, MASK = make_photo()
GOING = (grpc.StatusCode.UNAVAILABLE, "going away")
QUICK = RetryPolicy(attempts=4, first_delay=0.01)


@pytest.fixture(params=[PortraitClient, BlockingClient])
def kind(request):
    """Of client: the one that waits, and the one for asyncio."""
    return request.param


# === Statuses and retries ===


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c.value[0]])
def test_each_status_has_its_error(code):
    may_retry = code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
    with scripted([(code, "the\nreason")] * 4, retry=QUICK) as (script, client):
        with pytest.raises(ServerError) as caught:
            client.complete(IMAGE, MASK)
        assert caught.value.code == code and caught.value.may_retry == may_retry
        name = code.name.title().replace("_", "") + "Error"
        assert type(caught.value) is getattr(errors, name)
        assert client.target in str(caught.value) and "\n" not in str(caught.value)
        # Nothing else is tried again.
        assert script.calls == (4 if code.name == "UNAVAILABLE" else 1)


@pytest.mark.parametrize("size", [9, 700])
def test_what_passes_is_tried_again(size, kind):
    # Of 700 x 700 a request is larger than gRPC keeps for another attempt by itself.
    image, mask = make_photo(size, size)
    with scripted([GOING] * 3, kind=kind, retry=QUICK) as (script, client):
        np.testing.assert_array_equal(client.complete(image, mask).completed, image)
        assert script.calls == 4
        script.outcomes = [GOING] * 4
        with pytest.raises(UnavailableError, match="going away"):
            client.complete(image, mask)
        assert script.calls == 8


def test_a_message_that_is_too_large_is_not_tried_again():
    limits = [("grpc.max_receive_message_length", 100)]
    script = Script()
    with script.running(limits) as address, PortraitClient(address) as client:
        with pytest.raises(MessageTooLargeError, match="above the size limit of"):
            client.complete(IMAGE, MASK)
        assert script.calls == 0


def test_retries_end_with_the_deadline():
    retry = RetryPolicy(attempts=5, first_delay=0.4, multiplier=1)
    with scripted([GOING] * 100, retry=retry, timeout=1) as (script, client):
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError, match="did not answer within 1 s"):
            client.complete(IMAGE, MASK)
        assert 0.9 < time.monotonic() - start < 3
        assert 2 <= script.calls <= 4


def test_no_storm():
    """Of a server that fails for everybody, hardly more is asked than once a call."""
    retry = RetryPolicy(first_delay=0.01, max_delay=0.01)
    with scripted([GOING] * 1000, retry=retry) as (script, client):
        for _ in range(100):
            with pytest.raises(UnavailableError):
                client.status()
    assert 100 <= script.calls < 250


def test_a_server_that_starts_again_loses_no_call():
    """In one process, quickly; `test_client_restart.py` does it for real."""
    image, mask = make_photo(300, 300)
    with contextlib.ExitStack() as stack:
        script, running = Script(), contextlib.ExitStack()
        stack.callback(running.close)
        address = running.enter_context(script.running())
        client = stack.enter_context(PortraitClient(address, timeout=30))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(8))

        def call(_):
            return client.complete(image, mask).completed

        # Calls under way when a server is killed: that test, too.
        before = [pool.submit(call, index).result() for index in range(8)]
        running.close()
        later = [pool.submit(call, index) for index in range(8)]
        with pytest.raises(concurrent.futures.TimeoutError):
            later[0].result(1)
        running.enter_context(Script().running(address=address))
        for found in (*before, *(future.result() for future in later)):
            np.testing.assert_array_equal(found, image)


def test_the_deadline_covers_all_attempts(kind):
    with scripted([GOING], kind=kind, retry=QUICK) as (script, client):
        script.pause.clear()
        with pytest.raises(DeadlineExceededError, match="did not answer within 0.5 s"):
            client.complete(IMAGE, MASK, timeout=0.5)
        assert script.calls == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RetryPolicy(attempts=0), "attempts is 0; expected 1 to 5"),
        (lambda: RetryPolicy(attempts=1026), "attempts is 1026; expected 1 to 5"),
        (lambda: RetryPolicy(attempts="2"), "attempts is '2'; expected 1 to 5"),
        (lambda: RetryPolicy(first_delay=-1), "first_delay is -1; expected 0.01 s"),
        (lambda: RetryPolicy(multiplier=0.5), "multiplier is 0.5; expected 1 or"),
        (lambda: Keepalive(seconds=0), "keepalive seconds is 0"),
        (lambda: Tls(client_key="k"), "client key and no client certificate"),
        (lambda: PortraitClient(tls=True), r"tls is True; expected Tls\(...\)"),
        (lambda: PortraitClient(keepalive=9), "keepalive is 9; expected Keepalive"),
        (lambda: PortraitClient(retry=3), "retry is 3; expected RetryPolicy"),
        (lambda: Tls(client_certificate="c"), "client certificate and no client key"),
    ],
)
def test_policies_that_cannot_be(make, message):
    with pytest.raises(PortraitError, match=message):
        make()


# === Headers, labels, keepalive ===


def test_headers_go_with_every_call(kind):
    headers = {"X-Team": "photos"}
    with (
        pytest.warns(UserWarning, match="in plain text") as warned,
        scripted(kind=kind, api_key="secret", headers=headers) as (script, client),
    ):
        client.complete(IMAGE, MASK)
        client.status()
        client.wait_until_available()
    # It names the line that made the client.
    assert pathlib.Path(warned[0].filename).parent == pathlib.Path(__file__).parent
    assert client.target in str(warned[0].message)
    assert len(script.headers) == 3
    for headers in script.headers:
        assert headers["x-api-key"] == "secret" and headers["x-team"] == "photos"


def test_a_key_that_is_not_in_plain_text_is_no_warning(certificates):
    PortraitClient("unix:portrait.sock", api_key="secret").close()
    tls = Tls(certificates / "ca.pem")
    PortraitClient("localhost:1", api_key="secret", tls=tls).close()


def test_a_label_is_asked_for():
    outcomes = [None, (grpc.StatusCode.NOT_FOUND, "gone")]
    with scripted(outcomes, version_label="canary") as (script, client):
        client.complete(IMAGE, MASK)
        with pytest.raises(ServerError, match="label 'canary' of model 'portrait'"):
            client.complete(IMAGE, MASK)
    assert script.labels == ["canary", "canary"]


def test_keepalive_and_round_robin(target):
    keepalive = Keepalive(seconds=600, without_calls=True)
    with PortraitClient(
        f"dns:///{target}", keepalive=keepalive, load_balancing="round_robin"
    ) as client:
        result = client.complete(IMAGE, MASK)
    check_completed(IMAGE, MASK, result.completed, result.parsing)
    assert dict(keepalive.options())["grpc.keepalive_time_ms"] == 600_000


# === Addresses ===


def test_unix_sockets_and_ipv6(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "socket"
    targets = {
        f"unix:{path}": [f"unix:{path}", f"unix://{path}", "unix:socket"],
        "unix-abstract:portrait-tf-tests": ["unix-abstract:portrait-tf-tests"],
        "[::1]:0": ["[::1]:{}", "ipv6:[::1]:{}", "ipv6:%5B::1%5D:{}", "dns:[::1]:{}"],
    }
    for listens, forms in targets.items():
        with Script().running(address=listens) as address:
            for form in forms:
                target = form.format(address.rpartition(":")[2])
                with PortraitClient(target, timeout=5) as client:
                    np.testing.assert_array_equal(
                        client.complete(IMAGE, MASK).completed, IMAGE
                    )


# === Waiting ===


@pytest.mark.parametrize(
    "code", ["UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNIMPLEMENTED"]
)
def test_waiting_ends_with_what_will_not_change(code, kind):
    outcomes = [(grpc.StatusCode[code], "the reason")]
    with scripted(outcomes, kind=kind) as (script, client):
        with pytest.raises(ServerError, match="the reason") as caught:
            client.wait_until_available(30)
        assert caught.value.code.name == code and script.calls == 1
        assert "not available within" not in str(caught.value)


def test_a_version_may_be_published_yet():
    missing = (grpc.StatusCode.NOT_FOUND, "no version 3")
    with scripted([missing] * 3, version=3) as (script, client):
        client.wait_until_available(30)
        assert script.calls == 4
        script.outcomes = [missing] * 1000
        with pytest.raises(ServerError, match="not available within 0.3 s: .* 3"):
            client.wait_until_available(0.3)


def test_closing_during_a_call(kind):
    with scripted(kind=kind) as (script, client):
        script.pause.clear()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.complete, IMAGE, MASK)
            wait_until(lambda: script.under_way)
            client.close()
            with pytest.raises(CancelledError, match="was closed during the call"):
                call.result(10)
        with pytest.raises(PortraitError, match="is closed; expected calls before"):
            client.wait_until_available(1)
        with pytest.raises(PortraitError, match="is closed"):
            client.complete_many([])


# === TLS ===


def test_tls(server, certificates, kind):
    roots = certificates / "ca.pem"
    with tls_before(server.grpc_port, server_context(certificates)) as port:
        for given in (roots, str(roots), roots.read_bytes()):
            with kind(f"localhost:{port}", tls=Tls(given)) as client:
                result = client.complete(IMAGE, MASK)
                check_completed(IMAGE, MASK, result.completed, result.parsing)


@pytest.mark.parametrize("clients", [False, True])
def test_tls_with_a_client_certificate_or_another_name(server, certificates, clients):
    roots = certificates / "ca.pem"
    own = certificates / "client.key", certificates / "client.pem"
    right = Tls(roots, *own) if clients else Tls(roots, server_name="localhost")
    host = "localhost" if clients else "127.0.0.1"
    context = server_context(certificates, clients=clients)
    with tls_before(server.grpc_port, context) as port:
        with PortraitClient(f"{host}:{port}", tls=right) as client:
            assert client.status()[0].state == "AVAILABLE"
        with (
            PortraitClient(f"{host}:{port}", tls=Tls(roots)) as client,
            pytest.raises(UnavailableError),
        ):
            client.status(timeout=1)


def test_certificates_that_cannot_be_read(tmp_path):
    with pytest.raises(PortraitError, match="none.pem: cannot read the root cert"):
        PortraitClient(tls=Tls(tmp_path / "none.pem"))
    with pytest.raises(PortraitError, match="the root certificates: expected .* PEM"):
        PortraitClient(tls=Tls(b"garbage"))
    for name in ("", "a\ud800", 5):
        with pytest.raises(
            PortraitError, match="the server's name is .*; expected one"
        ):
            Tls(server_name=name)


# === Streams ===


def photos(count):
    return [make_photo(9 + index % 3, 11, seed=index) for index in range(count)]


def test_many_come_in_their_order(target, kind):
    pairs = photos(30)
    with kind(target) as client:
        results = list(client.complete_many(iter(pairs), concurrency=5))
    for (image, mask), result in zip(pairs, results, strict=True):
        check_completed(image, mask, result.completed, result.parsing)


def test_many_are_under_way_at_once_and_no_more(kind):
    taken = []

    def give():
        for pair in photos(12):
            taken.append(pair)
            yield pair

    with scripted(kind=kind) as (script, client):
        script.pause.clear()
        results = client.complete_many(give(), concurrency=3)
        assert not taken
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(next, results)
            wait_until(lambda: script.under_way == 3)
            assert len(taken) == 3
            script.pause.set()
            first.result()
        assert len(taken) == 3
        next(results)
        assert len(taken) == 4
        assert len(list(results)) == 10
    assert script.most_under_way == 3


def test_a_failing_photo_of_many(target, kind):
    pairs = photos(6)
    pairs[2] = (pairs[2][0], pairs[2][1] * 0)
    pairs[4] = "photo.png"
    with kind(target) as client:
        found = list(client.complete_many(pairs, concurrency=2, on_error="yield"))
        assert [isinstance(one, PortraitError) for one in found] == [
            index in (2, 4) for index in range(6)
        ]
        assert "has no hole" in str(found[2])
        assert "gave a str; expected pairs (image, mask)" in str(found[4])
        results = client.complete_many(pairs)
        assert next(results).completed.shape == pairs[0][0].shape
        next(results)
        with pytest.raises(PortraitError, match="has no hole"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)


def test_many_with_a_bug_or_a_server_that_is_gone(kind):
    def broken():
        yield from photos(1)
        raise RuntimeError("the disk is gone")

    with kind("localhost:1", retry=RetryPolicy(attempts=1)) as client:
        (found,) = client.complete_many(photos(1), on_error="yield")
        assert isinstance(found, UnavailableError)
        with pytest.raises(RuntimeError, match="the disk is gone"):
            list(client.complete_many(broken(), on_error="yield"))
        for arguments, message in (
            ({"concurrency": 0}, "concurrency is 0"),
            ({"on_error": "ignore"}, "on_error is 'ignore'"),
        ):
            with pytest.raises(PortraitError, match=message):
                client.complete_many([], **arguments)


def test_many_left_early_sends_no_more(kind):
    with scripted(kind=kind) as (script, client):
        results = client.complete_many(photos(100), concurrency=2)
        next(results)
        results.close()
        client.status()
        assert script.calls <= 4
