"""The asyncio client behind the other one's face, so that one suite tests both."""

import asyncio
import inspect
import threading

from serving.client import AsyncPortraitClient


class BlockingClient:
    """Runs an `AsyncPortraitClient` in an event loop of its own, in a thread."""

    def __init__(self, *arguments, **settings):
        self._client = AsyncPortraitClient(*arguments, **settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def _run(self, awaitable):
        async def wait():
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result()

    def __getattr__(self, name):
        value = getattr(self._client, name)
        if not callable(value):
            return value

        def call(*arguments, **named):
            found = value(*arguments, **named)
            return self._run(found) if inspect.isawaitable(found) else self._each(found)

        return call

    def _each(self, results):
        try:
            while (one := self._run(anext(results, self))) is not self:
                yield one
        finally:
            self._run(results.aclose())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        assert not asyncio.all_tasks(self._loop)
        self._loop.close()
