"""The client of `tornado`."""

import asyncio

import tornado
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from checks import CA, IDLE_SECONDS, MESSAGES, REPEATED, TEXT, URL, cannot, expect, say


async def connect(path, **options):
    request = HTTPRequest(URL + path, ca_certs=CA)
    return await websocket_connect(request, compression_options={}, **options)


async def end_of(socket):
    """The code and the reason with which the socket ends, after what is expected to be its last message."""
    assert await socket.read_message() is None
    return socket.close_code, socket.close_reason


async def main():
    say("version", tornado.version)
    socket = await connect("/echo")
    say("extensions", socket.headers.get("Sec-WebSocket-Extensions", "none"))
    for check, message in MESSAGES.items():
        await socket.write_message(message, binary=isinstance(message, bytes))
        expect(check, await socket.read_message(), message)
    cannot("fragments", "it has no call for a part of a message")
    pong = asyncio.get_running_loop().create_future()
    socket.on_pong = pong.set_result
    socket.ping(b"are you there")
    expect("ping", await asyncio.wait_for(pong, 10), b"are you there")
    await asyncio.sleep(IDLE_SECONDS)
    await socket.write_message(TEXT)
    expect("idle", await socket.read_message(), TEXT)
    socket.close(1000)
    expect("close 1000", (await end_of(socket))[0], 1000)
    socket = await connect("/echo_takeover")
    for message in REPEATED:
        await socket.write_message(message)
    expect("takeover", [await socket.read_message() for _ in REPEATED], REPEATED)
    socket = await connect("/echo", subprotocols=["chat", "echo"])
    expect("subprotocol", socket.selected_subprotocol, "echo")
    socket = await connect("/close")
    socket.close(4000, "going home")
    expect("close 4000", await end_of(socket), (4000, "going home"))
    socket = await connect("/close")
    await socket.write_message("4001 lunch")
    expect("server closes", await end_of(socket), (4001, "lunch"))


asyncio.run(main())
