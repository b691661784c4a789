"""What is the asyncio client's own; `test_client_connection.py` tests both."""

import asyncio
import inspect

import numpy as np
import pytest
from processes import wait_until
from serving_photos import check_completed, make_photo
from wire import Script

from serving.client import AsyncPortraitClient, PortraitClient

IMAGE, MASK = make_photo(20, 30)


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


def test_every_call_answers_as_the_other_client(full):
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

    address = f"localhost:{full.grpc_port}"
    found = with_client(use, address)
    with PortraitClient(address) as client:
        for mine, call in zip(found, calls, strict=True):
            np.testing.assert_equal(
                getattr(mine, "__dict__", mine),
                getattr(expected := call(client), "__dict__", expected),
            )


def test_many_of_an_async_iterable(target):
    pairs = [make_photo(9 + index % 3, 11, seed=index) for index in range(20)]

    async def give():
        for pair in pairs:
            yield pair

    async def use(client):
        found = [one async for one in client.complete_many(give(), 5)]
        assert len(asyncio.all_tasks()) == 1
        return found

    for (image, mask), one in zip(pairs, with_client(use, target), strict=True):
        check_completed(image, mask, one.completed, one.parsing)


def test_a_call_can_be_cancelled():
    script = Script()
    script.pause.clear()

    async def use(client):
        call = asyncio.ensure_future(client.complete(IMAGE, MASK))
        await asyncio.to_thread(wait_until, lambda: script.under_way)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        script.pause.set()
        assert (await client.complete(IMAGE, MASK)).completed.shape == IMAGE.shape

    with script.running() as address:
        with_client(use, address)
