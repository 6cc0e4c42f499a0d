"""A simulated serial line: a pty pair, with the device at one end and a path for the client at the other."""

import asyncio
import os
import tty

from agent.simulator.server import Answerer, HangUpError, Mouth, answer_rtu


class PtyLine:
    """Answers RTU requests on a pseudo terminal. `path` is the client's end, as a serial adapter would be."""

    def __init__(self, answerer: Answerer) -> None:
        self.path = ""
        self._answerer = answerer
        self._ends: tuple[int, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def start(self) -> None:
        """Open the pair and begin to answer."""
        device, client = os.openpty()
        # The client's end stays open here, or the device's would report a hang-up between two clients.
        tty.setraw(client)
        self._ends, self.path = (device, client), os.ttyname(client)
        asyncio.get_running_loop().add_reader(device, self._hear, device)
        self._task = asyncio.create_task(self._answer(device), name=f"line {self.path}")

    async def stop(self) -> None:
        """Close both ends."""
        if self._ends is None or self._task is None:
            return
        asyncio.get_running_loop().remove_reader(self._ends[0])
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for end in self._ends:
            os.close(end)
        self._ends = None

    def _hear(self, device: int) -> None:
        self._heard.put_nowait(os.read(device, 512))

    async def _answer(self, device: int) -> None:
        async def send(data: bytes) -> None:
            os.write(device, data)

        mouth, heard = Mouth(send), b""
        try:
            while True:
                try:
                    heard = await answer_rtu(heard + await self._heard.get(), self._answerer, mouth)
                except HangUpError:
                    heard = b""  # a line cannot hang up
        finally:
            mouth.shut()
