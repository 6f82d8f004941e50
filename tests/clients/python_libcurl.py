"""libcurl's WebSocket, by way of `curl_cffi`, which brings a libcurl along."""

import curl_cffi
from curl_cffi import CurlOpt, CurlWsFlag, Session
from curl_cffi.requests import WebSocketTimeout

from checks import CA, FRAGMENTS, IDLE_SECONDS, MESSAGES, TEXT, URL, cannot, expect, say


def connect(session, path, headers=None, head=None):
    """Opens a WebSocket. The lines of the answer's head go into `head`."""
    options = {CurlOpt.HEADERFUNCTION: head.append} if head is not None else None
    return session.ws_connect(URL + path, verify=CA, headers=headers, curl_options=options)


def value_of(head, name):
    """What the answer says in the header line `name`."""
    lines = (line.decode().strip().partition(": ") for line in head)
    return next((value for key, _, value in lines if key.lower() == name), "none")


def recv(socket, timeout=20):
    """The next message: text as str."""
    data, flags = socket.recv(timeout=timeout)
    return data.decode() if flags & CurlWsFlag.TEXT else data


def end_of(socket):
    """The code and the reason with which the server closes."""
    data, flags = socket.recv(timeout=20)
    assert flags & CurlWsFlag.CLOSE, flags
    return int.from_bytes(data[:2], "big"), data[2:].decode()


def close_frame(code, reason):
    return code.to_bytes(2, "big") + reason


def main():
    say("version", curl_cffi.__curl_version__.split()[0])
    session = Session()
    head = []
    socket = connect(session, "/echo", head=head)
    say("extensions", value_of(head, "sec-websocket-extensions"))
    for check, message in MESSAGES.items():
        socket.send(message, CurlWsFlag.TEXT if isinstance(message, str) else CurlWsFlag.BINARY)
        expect(check, recv(socket), message)
    *first, last = FRAGMENTS
    for part in first:
        socket.send(part, CurlWsFlag.TEXT | CurlWsFlag.CONT)
    socket.send(last, CurlWsFlag.TEXT)
    expect("fragments", recv(socket), "".join(FRAGMENTS))
    try:
        say("idle", "failed, %r came" % recv(socket, IDLE_SECONDS))
    except WebSocketTimeout:
        socket.send_str(TEXT)
        expect("idle", recv(socket), TEXT)
    socket.send(close_frame(1000, b""), CurlWsFlag.CLOSE)
    expect("close 1000", end_of(socket), (1000, ""))
    cannot("ping", "libcurl shows no Pong")
    cannot("takeover", "it has no compression")
    head = []
    connect(session, "/echo", {"Sec-WebSocket-Protocol": "chat, echo"}, head)
    expect("subprotocol", value_of(head, "sec-websocket-protocol"), "echo")
    socket = connect(session, "/close")
    socket.send(close_frame(4000, b"going home"), CurlWsFlag.CLOSE)
    expect("close 4000", end_of(socket), (4000, "going home"))
    socket = connect(session, "/close")
    socket.send_str("4001 lunch")
    expect("server closes", end_of(socket), (4001, "lunch"))


main()
