"""The client of `aiohttp`."""

import asyncio

import aiohttp
from aiohttp import WSMsgType

from checks import IDLE_SECONDS, MESSAGES, REPEATED, TEXT, TLS, URL, cannot, expect, say


async def note_extensions(_session, _context, end):
    if end.url.path == "/echo_takeover":
        say("extensions", end.response.headers.get("Sec-WebSocket-Extensions", "none"))


async def main():
    say("version", aiohttp.__version__)
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note_extensions)
    async with aiohttp.ClientSession(URL, trace_configs=[trace]) as session:
        await run(session)


async def run(session):
    async with session.ws_connect("/echo", ssl=TLS or True, compress=15) as socket:
        for check, message in MESSAGES.items():
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)
            expect(check, (await socket.receive()).data, message)
        cannot("fragments", "it has no call for a part of a message")
        # It answers a Ping only while something is received.
        answer = asyncio.create_task(socket.receive())
        await asyncio.sleep(IDLE_SECONDS)
        await socket.send_str(TEXT)
        expect("idle", (await answer).data, TEXT)
        await socket.close()
        expect("close 1000", socket.close_code, 1000)
    async with session.ws_connect("/close", ssl=TLS or True, autoping=False) as socket:
        await socket.ping(b"are you there")
        pong = await socket.receive()
        expect("ping", (pong.type, pong.data), (WSMsgType.PONG, b"are you there"))
    async with session.ws_connect("/echo_takeover", ssl=TLS or True, compress=15) as socket:
        for message in REPEATED:
            await socket.send_str(message)
        expect("takeover", [(await socket.receive()).data for _ in REPEATED], REPEATED)
    protocols = ["chat", "echo"]
    async with session.ws_connect("/echo", ssl=TLS or True, protocols=protocols) as socket:
        expect("subprotocol", socket.protocol, "echo")
    async with session.ws_connect("/close", ssl=TLS or True) as socket:
        await socket.close(code=4000, message=b"going home")
        expect("close 4000", socket.close_code, 4000)
    async with session.ws_connect("/close", ssl=TLS or True) as socket:
        await socket.send_str("4001 lunch")
        end = await socket.receive()
        expect("server closes", (end.type, end.data, end.extra), (WSMsgType.CLOSE, 4001, "lunch"))


asyncio.run(main())
