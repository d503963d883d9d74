"""Pictures that callers show: in the request itself, or at an address that the server may fetch.

They are decoded off the event loop, two at a time, and never above the bound on pixels. Paths of
files are not addresses here: nothing on the server's disk can be shown.
"""

from __future__ import annotations

import asyncio
from functools import partial

from PIL import Image

from balancedit.errors import ImageError
from balancedit.inputs.images import is_data_url, open_image
from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.fetching import Fetcher
from balancedit.serving.http.settings import ServeSettings

_AT_ONCE = 2


class PictureReader:
    """Opens pictures within a server's bounds."""

    def __init__(self, settings: ServeSettings, fetcher: Fetcher | None = None) -> None:
        self._max_pixels = settings.max_pixels
        self._fetcher = fetcher or Fetcher(
            settings.picture_hosts, settings.max_body, settings.picture_seconds
        )
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def read(self, address: str, param: str | None = None) -> Image.Image:
        """The picture of a data URL, or of an address on one of the allowed hosts, as upright RGB.
        Raises `ApiError`, which names `param`."""
        try:
            source: str | bytes
            source = address if is_data_url(address) else await self._fetcher.fetch(address)
            async with self._places:
                work = partial(open_image, source, max_pixels=self._max_pixels)
                return await asyncio.to_thread(work)
        except ImageError as error:
            raise ApiError(400, str(error), code="invalid_image", param=param) from error
