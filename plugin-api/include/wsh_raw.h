/*
 * wsh_raw.h: the extension `wsh.raw/1`, bytes past the framing, for handlers that test how browsers
 * and clients take servers that misbehave.
 *
 * The same as plugin-api/src/abi/raw.rs, byte for byte. The table is there for handlers whose table
 * in the server's configuration says so:
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
 * The rules of wsh.h hold. A WshConn or WshResponse that is not the running callback's is WSH_MISUSE.
 * In a generation that was loaded without `raw = true` every function answers WSH_UNSUPPORTED.
 *
 * What the server still does
 *     It sends what it is given and takes no notice of what that means: a Close frame among the bytes
 *     does not close the session, half a frame does not hold back the next. So it goes on as if
 *     nothing had been written. It answers a Ping with a Pong and the peer's Close with a Close; it
 *     sends Pings of its own after `ping_interval_ms` of silence (0 is never), each behind the write
 *     before it, be that half a frame; it judges the peer's frames by RFC 6455 and closes with 1002
 *     and the like; its timeouts and limits hold. After `close`, WSH_DONE or an error nothing follows
 *     its Close frame. `abort` ends the connection without one.
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

/* What the server offers a handler that may write past the framing. Lives as long as the process. */
typedef struct WshRaw {
    uint32_t size;  /* of this table in bytes */
    uint32_t flags; /* 0 */
    /* [callback] Queues bytes as they are, behind what was queued before and before what comes
     * after, also between two parts of a message. Answers the bytes buffered after it; WSH_GONE when
     * closing; WSH_TOO_BIG past the outbound limit: nothing was queued and the limit's policy
     * applies, as for `send`. */
    int64_t(WSH_CALL *write)(WshConn *conn, const uint8_t *data, size_t len);
    /* [any thread] As `write`, for a session of this handler by its id, in order with what else is
     * sent by id; between two parts of a message never. Answers the bytes buffered; WSH_FULL when
     * the session's inbox is full. `ctx` is WshHost.ctx. */
    int64_t(WSH_CALL *write_to)(void *ctx, uint64_t id, const uint8_t *data, size_t len);
    /* [handshake] Answers the client with these bytes, once `handshake` answers WSH_OK; any other
     * answer drops them, but for WSH_PENDING. A later call replaces an earlier one.
     *
     * `then` is WSH_RAW_CLOSE: no session comes of it. The connection is closed when the client has
     * sent `linger` bytes behind its request, which are dropped, or has ended its side, at the
     * latest with the time that the handshake has. What else it sends may turn the end into a reset,
     * which can take the bytes with it. WSH_RAW_CONTINUE: the server's own 101 follows,
     * with all that belongs to it. WSH_RAW_OPEN: the bytes stand in place of the 101 and of the
     * response's header lines, and the session begins behind them, with the response's subprotocol
     * and without any extension, whatever the bytes say.
     *
     * Any other `then` is WSH_UNSUPPORTED. `linger` with another `then` than WSH_RAW_CLOSE is
     * WSH_INVALID. More than 1 MiB, of bytes or of `linger`, is WSH_TOO_BIG. */
    WshStatus(WSH_CALL *answer)(WshResponse *response, WshBytes bytes, uint32_t then,
                                uint32_t linger);
    /* [handshake] Writes what Sec-WebSocket-Accept must be for this request (RFC 6455, 4.2.2):
     * WSH_RAW_ACCEPT_BYTES bytes of ASCII, without NUL. NULL is WSH_INVALID. */
    WshStatus(WSH_CALL *accept)(WshResponse *response, uint8_t *out);
} WshRaw;

/* The table, or NULL where the server has none for this handler. */
static inline const WshRaw *wsh_raw(const WshHost *host) {
    if (!WSH_HAS(host, extension) || !host->extension) return NULL;
    return (const WshRaw *)host->extension(host->ctx, wsh_str(WSH_RAW));
}

#ifdef __cplusplus
}
#endif

#endif
