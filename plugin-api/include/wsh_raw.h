/*
 * wsh_raw.h: the extension `wsh.raw/1`, bytes past the framing, for handlers that test how browsers
 * and clients treat a server that misbehaves.
 *
 * It says in C what plugin-api/src/abi/raw.rs says in Rust, byte for byte. The extension is there
 * for handlers whose table in the server's configuration says so:
 *
 *     [handler.broken]
 *     raw = true
 *
 *     static const WshRaw *raw;
 *
 *     static WshStatus init(const WshHost *from, const WshInit *about, WshInstance *instance) {
 *         raw = wsh_raw(from);
 *         if (!raw) return from->fail(from->ctx, wsh_str("it wants `raw = true` in its table"));
 *         ...
 *
 * The rules of wsh.h apply. A WshConn or WshResponse that is not the running callback's is
 * WSH_MISUSE. In a generation that was loaded without `raw = true` every function answers
 * WSH_UNSUPPORTED.
 *
 * What the server still does
 *     It sends the bytes without interpreting them: a Close frame among them does not close the
 *     session, and half a frame does not hold back the next one. So it goes on as if nothing had
 *     been written. It answers a Ping with a Pong, and the peer's Close with a Close. It sends
 *     Pings of its own after `ping_interval_ms` of silence (0 is never), each after the write
 *     before it, even if that was half a frame. It judges the peer's frames by RFC 6455, and closes
 *     with 1002 and the like. Its timeouts and limits apply. After `close`, WSH_DONE or an error
 *     nothing follows its Close frame. `abort` ends the connection without one.
 *
 *     A write does not pass the compressor, so the context of permessage-deflate is what the frames
 *     before it left.
 */
#ifndef WSH_RAW_H
#define WSH_RAW_H

#include "wsh.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The id of the extension. */
#define WSH_RAW "wsh.raw/1"

/* `answer`: then the connection is closed. */
#define WSH_RAW_CLOSE 0u
/* `answer`: then the server's own 101 follows, and the session begins. */
#define WSH_RAW_CONTINUE 1u
/* `answer`: then the session begins, as if the bytes were the 101. */
#define WSH_RAW_OPEN 2u

/* How many bytes `accept` writes. */
#define WSH_RAW_ACCEPT_BYTES 28u

/* The functions for a handler that may write past the framing. The table lives as long as the
 * process. */
typedef struct WshRaw {
    uint32_t size;  /* of this table in bytes */
    uint32_t flags; /* 0 */
    /* [callback] Queues bytes as they are, after what was queued before and before what comes next,
     * also between two parts of a message. Answers how many bytes are buffered afterwards.
     * WSH_GONE: the session is closing. WSH_TOO_BIG: the bytes pass the outbound limit; nothing was
     * queued, and the limit's policy applies, as for `send`. */
    int64_t(WSH_CALL *write)(WshConn *conn, const uint8_t *data, size_t len);
    /* [any thread] Like `write`, for a session of this handler by its id, in order with what else
     * is sent by id, and never between two parts of a message. Answers how many bytes are buffered;
     * WSH_FULL if the session's inbox is full. `ctx` is WshHost.ctx. */
    int64_t(WSH_CALL *write_to)(void *ctx, uint64_t id, const uint8_t *data, size_t len);
    /* [handshake] Answers the client with these bytes, once `handshake` answers WSH_OK. Any other
     * answer of `handshake` but WSH_PENDING drops them. A later call replaces an earlier one.
     *
     * `then` is WSH_RAW_CLOSE: there is no session. The connection is closed when the client has
     * sent `linger` bytes after its request, which are dropped, or has ended its side, at the
     * latest when the time for the handshake is over. If the client sends more, the end may become
     * a reset, which can destroy the bytes on their way. WSH_RAW_CONTINUE: the server's own 101
     * follows, with all that belongs to it. WSH_RAW_OPEN: the bytes replace the 101 and the
     * response's header lines. The session begins after them, with the response's subprotocol and
     * without any extension, whatever the bytes say.
     *
     * Any other `then` is WSH_UNSUPPORTED. `linger` with another `then` than WSH_RAW_CLOSE is
     * WSH_INVALID. More than 1 MiB, of bytes or of `linger`, is WSH_TOO_BIG. */
    WshStatus(WSH_CALL *answer)(WshResponse *response, WshBytes bytes, uint32_t then,
                                uint32_t linger);
    /* [handshake] Writes the value of Sec-WebSocket-Accept for this request (RFC 6455, 4.2.2):
     * WSH_RAW_ACCEPT_BYTES bytes of ASCII, without NUL. NULL is WSH_INVALID. */
    WshStatus(WSH_CALL *accept)(WshResponse *response, uint8_t *out);
} WshRaw;

/* The extension's table, or NULL if the server has none for this handler. */
static inline const WshRaw *wsh_raw(const WshHost *host) {
    if (!WSH_HAS(host, extension) || !host->extension) return NULL;
    return (const WshRaw *)host->extension(host->ctx, wsh_str(WSH_RAW));
}

#ifdef __cplusplus
}
#endif

#endif
