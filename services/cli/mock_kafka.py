"""`python -m cli.mock_kafka --port 9092`: Kafka in memory, for a machine with Python alone.

librdkafka's mock cluster listens on a port of its own choice; a front on the given port passes the bytes on.
"""

from __future__ import annotations

import argparse
import asyncio
import signal

from cli.librdkafka import MockCluster


async def _serve(port: int) -> None:
    cluster = MockCluster()
    cluster.advertise("127.0.0.1", port)
    host, mock_port = cluster.address

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, mock_port)
        await asyncio.gather(_pass_on(reader, upstream_writer), _pass_on(upstream_reader, writer))

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with await asyncio.start_server(connected, "127.0.0.1", port):
        await stopping.wait()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
