"""The client of `websockets`."""

import asyncio

import websockets
from websockets.asyncio.client import connect

from checks import (FRAGMENTS, IDLE_SECONDS, MESSAGES, REPEATED, TEXT, TLS, URL, expect,
                    say)


async def main():
    say("version", websockets.__version__)
    async with connect(URL + "/echo", ssl=TLS) as socket:
        say("extensions", socket.response.headers.get("Sec-WebSocket-Extensions", "none"))
        for check, message in MESSAGES.items():
            await socket.send(message)
            expect(check, await socket.recv(), message)
        await socket.send(FRAGMENTS)
        expect("fragments", await socket.recv(), "".join(FRAGMENTS))
        pong = await socket.ping("are you there")
        await asyncio.wait_for(pong, 10)
        say("ping", "ok")
        await asyncio.sleep(IDLE_SECONDS)
        await socket.send(TEXT)
        expect("idle", await socket.recv(), TEXT)
        await socket.close()
        expect("close 1000", socket.close_code, 1000)
    async with connect(URL + "/echo_takeover", ssl=TLS) as socket:
        for message in REPEATED:
            await socket.send(message)
        expect("takeover", [await socket.recv() for _ in REPEATED], REPEATED)
    async with connect(URL + "/echo", ssl=TLS, subprotocols=["chat", "echo"]) as socket:
        expect("subprotocol", socket.subprotocol, "echo")
    async with connect(URL + "/close", ssl=TLS) as socket:
        await socket.close(4000, "going home")
        expect("close 4000", (socket.close_code, socket.close_reason), (4000, "going home"))
    async with connect(URL + "/close", ssl=TLS) as socket:
        await socket.send("4001 lunch")
        await socket.wait_closed()
        expect("server closes", (socket.close_code, socket.close_reason), (4001, "lunch"))


asyncio.run(main())
