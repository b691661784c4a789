"""The asyncio client: what it shares is tested on the other one."""

import asyncio
import inspect

import grpc
import numpy as np
import pytest
from server_calls import wait_until
from serving_photos import check_completed, make_photo
from wire import Script, server_context, tls_before

from portrait_tf.errors import PortraitError
from serving.client import (
    AsyncPortraitClient,
    CancelledError,
    DeadlineExceededError,
    NotFoundError,
    PortraitClient,
    RetryPolicy,
    Tls,
    UnavailableError,
)

IMAGE, MASK = make_photo(20, 30)
QUICK = RetryPolicy(attempts=4, first_delay=0.01)


@pytest.fixture(scope="module")
def address(full):
    return f"localhost:{full.grpc_port}"


def with_client(use, address, **settings):
    async def main():
        async with AsyncPortraitClient(address, **settings) as client:
            return await use(client)

    return asyncio.run(main())


def test_both_clients_have_the_same_methods():
    def public(kind):
        return {
            name: list(inspect.signature(value).parameters.values())
            for name, value in vars(kind).items()
            if inspect.isfunction(value) and not name.startswith("_")
        }

    assert inspect.iscoroutinefunction(AsyncPortraitClient.complete)
    assert "non-zero = hole" in AsyncPortraitClient.complete.__doc__

    one, other = public(PortraitClient), public(AsyncPortraitClient)
    assert one.keys() == other.keys()
    for name, parameters in one.items():
        for mine, its in zip(parameters, other[name], strict=True):
            assert (mine.name, mine.kind, mine.default) == (
                its.name, its.kind, its.default
            )  # fmt: skip


def test_every_call_answers_as_the_other_client(address, tmp_path):
    labels = np.full((20, 30), 3, np.uint8)
    calls = [
        lambda client: client.complete(IMAGE, MASK),
        lambda client: client.complete(IMAGE, MASK, signature="encoded"),
        lambda client: client.complete_with_parsing(IMAGE, MASK, labels),
        lambda client: client.parse(IMAGE, MASK),
        lambda client: client.extrapolate(IMAGE, bottom=0.5),
        lambda client: client.status(),
        lambda client: client.metadata(),
        lambda client: client.wait_until_available(),
    ]

    async def use(client):
        return await asyncio.gather(*(call(client) for call in calls))

    found = with_client(use, address)
    with PortraitClient(address) as client:
        for mine, call in zip(found, calls, strict=True):
            np.testing.assert_equal(
                getattr(mine, "__dict__", mine),
                getattr(expected := call(client), "__dict__", expected),
            )


def test_errors(address):
    async def use(client):
        for call, kind, message in (
            (lambda: client.complete(IMAGE, MASK), NotFoundError, "not serve model 'o"),
            (lambda: client.complete(IMAGE, MASK * 0), PortraitError, "has no hole"),
            (lambda: client.complete(IMAGE, MASK, timeout=0), PortraitError, "is 0"),
            (lambda: client.wait_until_available(30), NotFoundError, "not serve mod"),
        ):
            with pytest.raises(kind, match=message):
                await call()
        await client.close()
        with pytest.raises(PortraitError, match="is closed"):
            await client.status()

    with_client(use, address, model_name="other")


def test_retries_headers_and_deadline():
    script = Script([(grpc.StatusCode.UNAVAILABLE, "going")] * 3)

    async def use(client):
        result = await client.complete(IMAGE, MASK)
        np.testing.assert_array_equal(result.completed, IMAGE)
        assert script.calls == 4
        script.pause.clear()
        with pytest.raises(DeadlineExceededError, match="within 0.3 s"):
            await client.complete(IMAGE, MASK, timeout=0.3)

    warned = pytest.warns(UserWarning, match="in plain text")
    with script.running() as address, warned:
        with_client(use, address, retry=QUICK, api_key="secret")
    assert all(headers["x-api-key"] == "secret" for headers in script.headers)


def test_unreachable():
    async def use(client):
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await client.complete(IMAGE, MASK)
        with pytest.raises(UnavailableError, match="not available within 0.3 s: .*ref"):
            await client.wait_until_available(0.3)

    with_client(use, "localhost:1", retry=QUICK, timeout=0.5)


def test_tls(server, certificates):
    async def use(client):
        result = await client.complete(IMAGE, MASK)
        check_completed(IMAGE, MASK, result.completed, result.parsing)

    with tls_before(server.grpc_port, server_context(certificates)) as port:
        with_client(use, f"localhost:{port}", tls=Tls(certificates / "ca.pem"))


@pytest.mark.parametrize("is_async", [True, False])
def test_many_come_in_their_order(target, is_async):
    pairs = [make_photo(9 + index % 3, 11, seed=index) for index in range(20)]
    pairs[7] = (pairs[7][0], pairs[7][1] * 0)

    async def give():
        for pair in pairs:
            yield pair

    async def use(client):
        photos = give() if is_async else iter(pairs)
        return [one async for one in client.complete_many(photos, 5, on_error="yield")]

    found = with_client(use, target)
    for index, ((image, mask), one) in enumerate(zip(pairs, found, strict=True)):
        if index == 7:
            assert "has no hole" in str(one) and isinstance(one, PortraitError)
        else:
            check_completed(image, mask, one.completed, one.parsing)


def test_many_are_bounded_and_end_with_an_error():
    script = Script([None] * 5 + [(grpc.StatusCode.DATA_LOSS, "lost")])
    taken = []

    def give():
        for _ in range(12):
            taken.append(1)
            yield IMAGE, MASK

    async def use(client):
        results = client.complete_many(give(), concurrency=3)
        await anext(results)
        assert len(taken) == 3
        with pytest.raises(PortraitError, match="DATA_LOSS: lost"):
            async for _ in results:
                pass
        left = client.complete_many(give(), concurrency=2)
        await anext(left)
        await left.aclose()
        assert len(taken) <= 9 + 2
        assert len(asyncio.all_tasks()) == 1
        with pytest.raises(PortraitError, match="concurrency is 0"):
            client.complete_many([], 0)

    with script.running() as address:
        with_client(use, address)
    assert script.most_under_way <= 3


@pytest.mark.parametrize("closes", [False, True])
def test_a_call_is_cancelled_by_its_caller_or_by_close(closes):
    script = Script()
    script.pause.clear()

    async def use(client):
        call = asyncio.ensure_future(client.complete(IMAGE, MASK))
        await asyncio.to_thread(wait_until, lambda: script.under_way)
        if closes:
            await client.close()
            with pytest.raises(CancelledError, match="was closed during the call"):
                await call
            return
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        script.pause.set()
        assert (await client.complete(IMAGE, MASK)).completed.shape == IMAGE.shape

    with script.running() as address:
        with_client(use, address)
