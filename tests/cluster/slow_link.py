"""A link that takes its time: a proxy through which all bytes pass that much later, in order, both ways.

``python slow_link.py HOST PORT SECONDS`` prints the port at which it listens.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def slow_link(host: str, port: str, delay_s: float) -> Iterator[str]:
    """Yield an address (``host:port``) that leads to another one, slowly."""
    command = [sys.executable, __file__, host, port, str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield f"127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.kill()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await source.read(1 << 16):
            loop.call_later(delay_s, sink.write, data)
    loop.call_later(delay_s, sink.close)


async def _serve(host: str, port: int, delay_s: float) -> None:
    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        await asyncio.gather(_pass_on(reader, back, delay_s), _pass_on(there, writer, delay_s))

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
