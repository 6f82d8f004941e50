"""The client of `websocket-client`. It has no compression."""

from threading import Timer

import websocket
from websocket import ABNF

from checks import (CA, FRAGMENTS, IDLE_SECONDS, MESSAGES, TEXT, URL, cannot, expect, say)


def connect(path, **options):
    return websocket.create_connection(URL + path, sslopt={"ca_certs": CA}, timeout=20, **options)


def recv(socket):
    """The next message: text as str."""
    opcode, data = socket.recv_data()
    return data.decode() if opcode == ABNF.OPCODE_TEXT else data


def close_of(socket):
    """The code and the reason of the next frame, a Close frame."""
    opcode, frame = socket.recv_data_frame(control_frame=True)
    assert opcode == ABNF.OPCODE_CLOSE, opcode
    return int.from_bytes(frame.data[:2], "big"), frame.data[2:].decode()


def main():
    say("version", websocket.__version__)
    socket = connect("/echo")
    say("extensions", socket.getheaders().get("sec-websocket-extensions", "none"))
    for check, message in MESSAGES.items():
        (socket.send if isinstance(message, str) else socket.send_binary)(message)
        expect(check, recv(socket), message)
    first, *middle, last = [part.encode() for part in FRAGMENTS]
    socket.send_frame(ABNF(0, 0, 0, 0, ABNF.OPCODE_TEXT, 1, first))
    for part in middle:
        socket.send_frame(ABNF(0, 0, 0, 0, ABNF.OPCODE_CONT, 1, part))
    socket.send_frame(ABNF(1, 0, 0, 0, ABNF.OPCODE_CONT, 1, last))
    expect("fragments", recv(socket), "".join(FRAGMENTS))
    socket.ping("are you there")
    opcode, frame = socket.recv_data_frame(control_frame=True)
    expect("ping", (opcode, frame.data), (ABNF.OPCODE_PONG, b"are you there"))
    # It answers a Ping only while it receives.
    Timer(IDLE_SECONDS, socket.send, [TEXT]).start()
    expect("idle", recv(socket), TEXT)
    socket.send_close(1000)
    expect("close 1000", close_of(socket), (1000, ""))
    cannot("takeover", "it has no compression")
    socket = connect("/echo", subprotocols=["chat", "echo"])
    expect("subprotocol", socket.getsubprotocol(), "echo")
    socket = connect("/close")
    socket.send_close(4000, b"going home")
    expect("close 4000", close_of(socket), (4000, "going home"))
    socket = connect("/close")
    socket.send("4001 lunch")
    expect("server closes", close_of(socket), (4001, "lunch"))


main()
