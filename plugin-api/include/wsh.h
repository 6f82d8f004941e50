/*
 * wsh.h: write WebSocket handlers for wshd in C, C++ or anything that reads C.
 *
 * It says in C what plugin-api/src/abi.rs says in Rust, byte for byte; a test compares the two. ABI
 * 1.0.
 *
 * A plugin is a shared library named NAME_wsh.so; it answers at /NAME. It exports one symbol, made
 * by WSH_DEFINE, and gives the server a table of callbacks, its vtable:
 *
 *     static const WshHost *host;
 *
 *     static WshStatus init(const WshHost *from, const WshInit *about, WshInstance *instance) {
 *         host = from;
 *         instance->vtable = &vtable;
 *         return WSH_OK;
 *     }
 *
 *     WSH_DEFINE("echo", "1.0", init);
 *
 *     cc -shared -fPIC -O2 -I plugin-api/include -o echo_wsh.so echo.c
 *
 * handlers/c/ has a whole plugin. In C++ build with -fno-gnu-unique, or a new generation would
 * share the statics of an old one. Let no exception out of a callback.
 *
 * Words: a plugin is a library file, a handler is its code, a session is one open WebSocket, a
 * generation is one loaded version of a plugin.
 *
 * Rules
 *  1. The server reads all of WSH_HANDLER but `init` from the file, and runs no code of a plugin
 *     that it refuses.
 *  2. A table starts with its size. A reader reads at most size bytes of a table, and no more than
 *     it knows. An absent field is NULL and means the default. A writer that fills a table of the
 *     other side writes nothing past the size found in it. Fields are appended, never moved and
 *     never reused. A plugin's table that ends before a field of 1.0 is refused, unless that field
 *     is `description`. See WSH_HAS.
 *  3. abi_major must match; min_host_minor must not be above the server's minor. The server ignores
 *     a descriptor flag that it does not know. A plugin that depends on such a flag raises
 *     min_host_minor.
 *  4. Memory that is passed to a call can be read until the call returns. There are two exceptions.
 *     WshHost, its ctx and log_level live as long as the process. A WshRequest, with all that it
 *     points to, stays where it is from the first call of `handshake` until `open` or `abandon` has
 *     returned. `abandon` comes only if an attempt was left, so a handler that reads the WshRequest
 *     between two calls of `handshake` leaves one. Each side frees only what it allocated. A
 *     pointer and a length are a pair: with length 0 the pointer may be NULL or dangling.
 *  5. Callbacks of one session never overlap and keep their order, but may run on different
 *     threads. `handshake`, `open`, `restore`, `answered`, `envelope`, `presence` and different
 *     sessions run concurrently; `init`, `self_test`, `serving` and `shutdown` of one generation
 *     follow one another.
 *  6. A WshConn or WshResponse is valid only inside the callback that it was given to, on the
 *     thread of that callback. Any other pointer is answered WSH_MISUSE, and nothing behind it is
 *     read.
 *  7. No function of 1.0 enters the plugin before it returns. `send`, `ping`, `close` take effect
 *     in call order; `send_to`, `close_to`, `notify` and `publish` are messages, applied between
 *     callbacks. What one thread sends to one id, by the first three, keeps its order, and so does
 *     what it publishes to one topic. No other order is promised: none between `send`, `send_to`
 *     and `publish`, and none between two topics or two threads.
 *  8. No panic or exception leaves its side, and no longjmp crosses the border.
 *  9. A plugin depends on no address, thread, descriptor or process id of the server. Several
 *     processes may have the image at once (a trial, a worker): statics are each process's own.
 *
 * The life of a session
 *     First comes `handshake`. While it answers WSH_PENDING, it is called again after each `wake`
 *     with the request's id. The WshResponse is then as earlier calls left it, so a header line
 *     that each call appends is sent several times. Next comes `open`, or `abandon` if an attempt
 *     was left and no `open` follows. Then `message ping pong drain timer wake note answer` come in
 *     any order, and `snapshot` between any two of them. `closing` comes if the peer closes first. At
 *     the end come `closed`, once, and `destroy`. After `close`, `abort`, WSH_DONE or an error
 *     there are only `closed`, `wake` after a `closed` that answered WSH_PENDING, and `destroy`. A
 *     failed `open` or `restore` leaves no session, so neither `closed` nor `destroy` follows. A
 *     session may be NULL.
 *
 *     Functions that take a WshConn answer WSH_MISUSE in `snapshot` and `restore`, and WSH_GONE in
 *     `closed`. `check` answers WSH_OK in all three, and the table of the WshConn may be read
 *     there. `destroy`, `abandon` and `shutdown` may call [any thread] functions only. `closed`,
 *     `destroy`, `abandon` and `shutdown` come at most once, and exactly once unless the process
 *     ends. `serving(1)` of a new generation comes before `serving(0)` of the one before it.
 *
 * What a callback returns, and what that means
 *     init, self_test   OK: fit. Below 0: refused, with the words of `fail`.
 *     handshake         OK: accepted. REJECT: refused with the response's status, else 403. ABORT:
 *                       the connection is closed without a byte. PENDING: asked again after a
 *                       `wake`. Below 0: a 500.
 *     open              OK: a session. DONE: closes with 1000. Below 0: no session, closes with
 *                       1011.
 *     message ping pong OK: go on. DONE: closes with 1000. Below 0: closes with 1011, but DROPPED is
 *     drain timer wake  as OK.
 *     note answer
 *     closing           OK: the code is echoed unless `close` or `abort` was called. PENDING:
 *                       answered later: other callbacks but `message` go on until `close`, `abort`
 *                       or DONE, which echoes the code, as the close timeout does. Below 0: closes
 *                       with 1011.
 *     closed            OK: over. PENDING: `wake` goes on for as long as it answers PENDING, or
 *                       until a deadline.
 *     snapshot          OK: the state is written. AGAIN: not now, asked again after the next
 *                       callback. Below 0: the session stays in this generation; a later callback
 *                       may have changed that, so it can be asked again.
 *     restore           OK: a session. Below 0: it stays in the older generation, and may be tried
 *                       again.
 *     envelope          OK: what was written is sent. DONE: the message is sent as it is. Below 0: as
 *                       DONE, and logged.
 *     presence          OK: what was written is sent. DONE: nothing is sent. Below 0: as DONE, and
 *                       logged.
 *     A status that has no meaning in its callback counts as WSH_ERROR and is logged.
 *
 * What more is promised
 *   - Calls of `wake` may be merged, and a `wake` callback may come without a call. After any call of
 *     `wake`, also one made during a callback, a `wake` callback begins, unless the session ends
 *     first.
 *   - A message sent with WSH_MORE stays open until a part without it. Each part repeats the opcode,
 *     and a part of text is whole characters. Until then a `send` with another opcode is
 *     WSH_INVALID, and what was sent by id waits; `ping` and `close` pass. A handler with WSH_STREAM
 *     gets messages in parts of any length, every one but the last with WSH_MORE; a part of text is
 *     whole characters.
 *   - A session that moves to a newer generation keeps its socket, id, timers, topics, compression
 *     and everything that waits in either direction. `snapshot` may be called between any two
 *     callbacks, as often as after each, also when no move follows. It changes nothing outside the
 *     session. `restore` gets state that an older generation or this one wrote, perhaps in a
 *     process that has ended.
 *   - An id is opaque and never 0. No two sessions have the same id, on all servers that work
 *     together and across an upgrade that keeps sessions open. All 64 bits may be used, which is
 *     more than a number of JSON holds in a browser. A server that works alone counts from 1 when
 *     it starts, so an id that was kept outside the process may belong to another session after a
 *     restart. A generation's number is opaque, and that of a newer one is larger. WSH_GONE for an
 *     id means that the session is known to be over, or that the calling generation is, whose
 *     sessions may go on in a newer one.
 *   - The token of a timer and the number of a note come to the session wherever it has moved, and
 *     so to code that may be newer. They do not come to a session that is over. So they are numbers
 *     that each generation understands, and never a pointer. Every token of a later minor comes
 *     back in this way, too.
 *   - A topic is 1 to 255 bytes of UTF-8 without NUL. Topics are compared byte for byte, and no
 *     byte is a wildcard. A topic belongs to the handler's name, and all generations of the handler
 *     share it. A topic that begins with `/` belongs to the server, and any handler may use it.
 *     Once `subscribe` has answered WSH_OK, publications of this server arrive at once, and those
 *     of other servers soon. `publish` answers how many subscribers of this server the message is
 *     for, as last known and without `except`; 0 says nothing of other servers. A subscriber for
 *     which the message does not fit is closed as past its outbound limit. A publisher that is a
 *     subscriber may get the message after what it sends next. `except` is the id of one session on
 *     any server, as a rule the publisher's own. A message that arrives may have been published by
 *     another version of the handler.
 *   - The version of a kept value is a uint64_t, which is 0 where there is no value and only grows,
 *     also over a deletion. A position among publications is at most 64 opaque bytes. Every server
 *     that works with the one that gave it, in this version or a later one, understands the
 *     position or recovers nothing from it.
 *   - Histories, members and kept values belong to the handler's name, and outlive its generations.
 *     See "Asks". A reload, a move or a crash of a session leaves no member behind.
 *   - `buffered` and every count of bytes say what the server still holds, as last known.
 *     WSH_TOO_BIG may also show as a close after the callback.
 *   - After `shutdown` returned every [any thread] function answers WSH_GONE or NULL, except `log`,
 *     `fail` and `check`, which need no session. So a thread that never ends does no harm.
 *
 * Asks
 *     What servers share is asked for with a token. A function with a token answers WSH_OK when the
 *     ask is accepted. The answer comes later, once, by a callback with the token, and never before
 *     the function returns. A function that answers below 0 has asked nothing, and no callback
 *     follows: WSH_FULL when as many asks wait as may, WSH_TOO_BIG for a name or a value over its
 *     limit, WSH_INVALID for bytes that are not what they should be.
 *
 *     WSH_UNSUPPORTED is about the topic's table of [topics] in config.toml: `history` and
 *     `publish_acked` want a `history` in it, `enter` and `present` no `presence = false`. Each of
 *     them, and `subscribe_from`, wants a topic that begins with / to be for this handler
 *     (`handlers`). Where the configuration changes meanwhile, it is the status of the answer. On a
 *     topic without a history `subscribe_from` is answered, with WSH_RECOVERED unless a position was
 *     named, and without a position; what is published from then on follows.
 *
 *     A version only grows. Those of the store are counted over all keys, and those of members over
 *     more than one topic, so the first one of a key or topic may be any number. `store_delete` of a
 *     key without a value is WSH_OK, and has a new version.
 *
 *     A page has at most as many items as its `limit`, which is 1 at least, and no more than 1,024.
 *     It ends before that if its values would have more than 1 MiB, and has one item in any case, if
 *     there is one.
 *
 *     `subscribe_from` and `enter` take a WshConn, and the session's `answer` hears. The others take
 *     ctx and an id. With the id of a session of this handler, that session's `answer` hears, also
 *     after a move. With id 0 the handler itself hears, by `answered`. A session that is over, a
 *     generation that is over and a table without the callback hear nothing. A session's answers
 *     come between callbacks, in order with what is sent to it by id. They do not wait for the rest
 *     of a message in parts, as what is sent does.
 *
 *     What one session, or one thread with id 0, asks of the store is carried out in the order of
 *     the calls. Answers come in no promised order: that of `subscribe_from` may come after those
 *     of later asks.
 *
 *     What a WshAnswer has:
 *     subscribe_from  position: the last publication before the new ones, or the place before the
 *                     first one. follows: how many missed messages follow.
 *     publish_acked   position: the publication.
 *     history         items: publications (kind, value, position). position: the last publication of
 *                     the topic; empty if there was none, or if it is dropped and the topic is
 *                     forgotten. next: the position of the last item, if there are more.
 *     enter           version: of the members after it.
 *     present         items: members (id, value). version: of the members. next.
 *     store_get       items: the value, if there is one (name, value, version). version: the item's,
 *                     else 0.
 *     store_put       version: of the change; with WSH_CONFLICT the value's, 0 if there is none.
 *     store_delete    as store_put.
 *     store_list      items: values (name, value, version). next.
 *     Everything else is 0 or empty.
 *
 *     After `subscribe_from` the session first hears its answer. Then the missed messages go to the
 *     peer, and then what is published from now on: nothing is left out, and nothing comes twice.
 *     All servers have one order of a topic with history. With a position, WSH_RECOVERED says that
 *     everything since then follows. Otherwise the last messages follow that were asked for in its
 *     place, and there may be others before them that the peer has not seen. Without a position
 *     nothing is to be recovered, and WSH_RECOVERED is set. A position comes with an answer, or by
 *     `envelope`, by which a handler tells its peers. A position of another topic, one that is
 *     forged, and one whose messages are gone or too many recovers nothing.
 *
 *     A session that leaves the topic before it has heard the answer hears it all the same. Then
 *     missed messages follow, or the join was given up: nothing follows, there is no position, and
 *     WSH_RECOVERED is set unless a position was named. Nothing new comes in either case.
 *
 *     A position recovers nothing any more once the configuration has taken the history of its
 *     topic, also if it gives it one again. Other bounds leave positions as they are.
 *
 *     Missed messages follow as far as the session may have them waiting: at most what its limit of
 *     outbound bytes has room for (`outbound_bytes_max`), and at most 1 MiB. A position from which
 *     more is missed is not recovered. Of the last messages the newest follow that fit, and
 *     `follows` says how many. A handler that wants all reads them by `history`.
 *
 * What is survived
 *     Any pointer that is no WshConn or WshResponse of the running callback, and any ctx of a WshSink
 *     but that of the running callback: WSH_MISUSE. NULL with a length, however long: WSH_INVALID.
 *     A length above half the address space: WSH_TOO_BIG. A WshResponse after its `handshake`
 *     returned: WSH_MISUSE. `commit` of room that a later call or the end of the callback took back:
 *     WSH_INVALID. Ids that are stale, foreign, or 0: WSH_GONE. Texts that are not UTF-8, unless
 *     WSH_TRUSTED_UTF8 vouches for them, or hold a NUL where none may be: WSH_INVALID.
 *
 *     Not survived: writes into memory that is not the plugin's; a pointer to fewer bytes than its
 *     length says; a ctx that is neither the host table's nor NULL; signal handlers; pthread_exit,
 *     cancellation or longjmp out of a callback; fork without exec; more stack than a callback has,
 *     which is at least 1 MiB.
 */
#ifndef WSH_H
#define WSH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The calling convention of every function across the border: the platform's own for C. */
#ifndef WSH_CALL
#if defined(_WIN32) && !defined(_WIN64)
#define WSH_CALL __cdecl
#else
#define WSH_CALL
#endif
#endif

/* For the definitions of callbacks: no exception leaves them. */
#if defined(__cplusplus) && __cplusplus >= 201103L
#define WSH_NOEXCEPT noexcept
#else
#define WSH_NOEXCEPT
#endif

/* The border that this file describes. */
#define WSH_ABI_MAJOR 1
/* How many releases since 1.0 have appended to it. */
#define WSH_ABI_MINOR 0

/* The answer of a call: 0 and above is an outcome, below 0 a failure. */
typedef int32_t WshStatus;
/* Done as asked. */
#define WSH_OK 0
/* Not now; asked again later. */
#define WSH_AGAIN 1
/* `handshake`: refuse with the status of the response, else 403. */
#define WSH_REJECT 2
/* The handler is done with the session: close 1000. */
#define WSH_DONE 3
/* The answer comes later, after a `wake`. */
#define WSH_PENDING 4
/* `handshake`: close the connection without sending a byte. */
#define WSH_ABORT 5
/* Failed. */
#define WSH_ERROR (-1)
/* The handler panicked, or threw; it was caught on the plugin's side. */
#define WSH_PANIC (-2)
/* The session, or its generation, is over. */
#define WSH_GONE (-3)
/* Past a limit; nothing was done. */
#define WSH_TOO_BIG (-4)
/* Not known to the side that was asked. */
#define WSH_UNSUPPORTED (-5)
/* An argument breaks its rule; nothing was done. */
#define WSH_INVALID (-6)
/* Called at the wrong time, on the wrong thread or with a pointer that is not valid; nothing was
 * done. */
#define WSH_MISUSE (-7)
/* The queue is full; nothing was done, and it may be tried again. */
#define WSH_FULL (-8)
/* In a WshAnswer: the value does not have the version that was named; nothing was done. */
#define WSH_CONFLICT (-9)
/* In a WshAnswer: what the servers share cannot be reached, or did not answer in time. Whether it
 * was done is unknown. */
#define WSH_UNAVAILABLE (-10)
/* `send`, `commit`: the message passes the outbound limit, whose policy is to drop messages. It was
 * dropped, and the session goes on. `message` and the callbacks that go on like it may answer it, in
 * the place of WSH_OK. */
#define WSH_DROPPED (-11)

/* Message kinds. The low byte of a kind is the opcode of RFC 6455, 5.2. */
#define WSH_TEXT 1u
#define WSH_BINARY 2u
/* Another part of this message follows; every part repeats the opcode. */
#define WSH_MORE (1u << 8)
/* Do not compress this message; in its first part, where it has several. */
#define WSH_NO_COMPRESS (1u << 9)
/* The sender vouches for UTF-8, as for text that the server gave it. The host need not check it, so
 * text that is not UTF-8 may reach the peer. */
#define WSH_TRUSTED_UTF8 (1u << 10)
/* `send` and `commit`: a message that does not fit beside what waits is answered with WSH_FULL, in
 * the place of WSH_TOO_BIG and the limit's policy. Nothing was done; `drain` says when to try
 * again. By id the bit is WSH_UNSUPPORTED. */
#define WSH_IF_ROOM (1u << 11)
/* The callback `message`, for handlers with WSH_BATCHES: another whole message follows at once. It
 * is a hint: a message without it may be followed by another one, too, and what follows may break
 * the protocol, so that `closed` comes instead. In a send the bit is WSH_UNSUPPORTED, so an echo
 * clears it. */
#define WSH_FOLLOWED (1u << 12)

/* WshDescriptor.flags: compiled with panic = "abort". Such a plugin is refused where it would share
 * the server's process. */
#define WSH_PANIC_ABORT 1u
/* WshDescriptor.flags: sessions can move to a newer generation. */
#define WSH_MIGRATES 2u
/* WshDescriptor.flags: the plugin runs every session on a thread of its own. The server limits how
 * many there are. */
#define WSH_BLOCKING 4u
/* WshDescriptor.flags: sessions are futures. */
#define WSH_ASYNC 8u
/* WshDescriptor.flags: the handler's own `handshake` judges the Origin. The server admits any
 * origin, unless the configuration has a rule for this handler. */
#define WSH_ORIGIN_ANY 16u
/* WshVtable.flags: `message` takes parts of messages. A message may then be of any length, in any
 * number of frames. The configuration's limit for the bytes of a message limits a part instead. */
#define WSH_STREAM 1u
/* WshVtable.flags: `message` may be told that another message follows, see WSH_FOLLOWED. */
#define WSH_BATCHES 2u
/* WshInit.flags: loaded to be checked; no traffic will follow. */
#define WSH_CHECK 1u
/* WshRequest.flags: the request came over TLS that ended at this server. */
#define WSH_TLS 1u
/* WshRequest.flags: the request came over HTTP/2. */
#define WSH_HTTP2 2u
/* WshConn.flags: a Close frame was sent or received. */
#define WSH_CLOSING 1u
/* WshConn.flags: the session was restored from an older generation. */
#define WSH_RESTORED 2u
/* WshConn.flags: permessage-deflate was negotiated. */
#define WSH_DEFLATE 4u
/* WshConn.flags: the bits that say in `closing` and `closed` what ended the session first: one of
 * the values below. 0 or a value that is not known stands for something else. */
#define WSH_CAUSE (0xffu << 8)
/* WSH_CAUSE: the peer closed. */
#define WSH_CAUSE_PEER (1u << 8)
/* WSH_CAUSE: the handler closed, dropped the connection or was done. */
#define WSH_CAUSE_HANDLER (2u << 8)
/* WSH_CAUSE: a callback failed or panicked. */
#define WSH_CAUSE_FAILED (3u << 8)
/* WSH_CAUSE: the connection was lost, or the peer gave no sign of life for too long. */
#define WSH_CAUSE_LOST (4u << 8)
/* WSH_CAUSE: the session passed a limit of the server's: of what its peer sends or is sent, of
 * time without a message, or of memory, which all sessions share. */
#define WSH_CAUSE_LIMIT (5u << 8)
/* WSH_CAUSE: the peer broke a rule of the protocol. */
#define WSH_CAUSE_PROTOCOL (6u << 8)
/* WSH_CAUSE: newer code has replaced this generation, and the session could not move to it. */
#define WSH_CAUSE_REPLACED (7u << 8)
/* WSH_CAUSE: the server stops, or an operator has closed the session or drains the handler. */
#define WSH_CAUSE_STOPPING (8u << 8)

/* The longest position, and the longest key of a kept value. A key is 1 byte at least, UTF-8,
 * without NUL. */
#define WSH_POSITION_BYTES_MAX 64u
#define WSH_KEY_BYTES_MAX 255u
/* A version that every value has, and none: the change is made in any case. A handler that takes
 * versions from its peers refuses this one. */
#define WSH_ANY_VERSION UINT64_MAX
/* WshAnswer.flags: everything since the position that was named follows. */
#define WSH_RECOVERED 1u
/* WshPresenceChange.kind: a session has become a member. */
#define WSH_JOINED 1u
/* WshPresenceChange.kind: a member has left, its session is over, or its server is gone. */
#define WSH_LEFT 2u
/* WshPresenceChange.kind: a member has another value. */
#define WSH_CHANGED 3u

/* Log levels. */
#define WSH_LOG_OFF 0u
#define WSH_LOG_ERROR 1u
#define WSH_LOG_WARN 2u
#define WSH_LOG_INFO 3u
#define WSH_LOG_DEBUG 4u
#define WSH_LOG_TRACE 5u

/* Text: UTF-8 without NUL, and no NUL after it. With len 0, ptr may be NULL. */
typedef struct WshStr {
    const uint8_t *ptr;
    size_t len;
} WshStr;

/* Any bytes, in the layout of WshStr. */
typedef WshStr WshBytes;

/* A name and its value: a header line, a cookie, a route's parameter, a log field. */
typedef struct WshPair {
    WshStr name;
    WshBytes value;
} WshPair;

typedef struct WshHost WshHost;
typedef struct WshInit WshInit;
typedef struct WshInstance WshInstance;
typedef struct WshVtable WshVtable;

/* The description of a plugin; see WSH_DEFINE. Everything but `init` is read from the file, without
 * running it. */
typedef struct WshDescriptor {
    uint8_t magic[8];          /* 89 57 53 48 0D 0A 1A 0A: a transfer in text mode breaks it */
    uint32_t abi_major;        /* the major of the ABI it was built with */
    uint32_t abi_minor;        /* the minor of the ABI it was built with */
    uint32_t min_host_minor;   /* the oldest host minor that the plugin can live with */
    uint32_t size;             /* of this table in bytes */
    uint32_t flags;            /* WSH_PANIC_ABORT, WSH_MIGRATES, WSH_BLOCKING, WSH_ASYNC,
                                * WSH_ORIGIN_ANY */
    uint32_t state_schema;     /* of what `snapshot` writes; 0 as a rule where it writes none */
    uint32_t state_schema_min; /* the oldest that `restore` reads; not above state_schema */
    uint32_t reserved;         /* 0; refused otherwise */
    char name[64];             /* UTF-8, NUL-padded; these three are for people only */
    char version[32];
    char toolchain[64];
    /* Builds the handler. It changes nothing outside before `serving`. Called once per loaded
     * image, on a control thread, with a deadline. Below 0: not loaded, with the text of `fail`. A
     * file is opened twice: first in a process of its own, with WSH_CHECK, where `self_test` and
     * `shutdown` follow and the process ends; then, if all went well, in the server. */
    WshStatus(WSH_CALL *init)(const WshHost *host, const WshInit *init, WshInstance *instance);
    /* What the handler is, in a sentence, UTF-8, NUL-padded; for people only. A table that ends
     * before it is that of a handler without a description. */
    char description[256];
} WshDescriptor;

/* The table that `init` gets. */
struct WshInit {
    uint32_t size;       /* of this table in bytes */
    uint32_t flags;      /* WSH_CHECK */
    uint64_t generation; /* the number of the generation, from 1 */
    WshStr config_json;  /* the handler's table of the configuration as a JSON object */
    WshStr name;         /* the handler's name, `chat`; its topics belong to it */
};

/* The table that `init` fills in; size is set by the server. */
struct WshInstance {
    uint32_t size;           /* of this table in bytes */
    uint32_t flags;          /* 0; refused otherwise */
    void *handler;           /* the first argument of the vtable's handler functions; may be NULL */
    const WshVtable *vtable; /* lives as long as the image is mapped: a static const, as a rule */
};

/* One session, as its callbacks see it. Owned by the host, readable without a call, only inside a
 * callback of this session and on its thread; it changes only through calls with it. */
typedef struct WshConn {
    uint32_t size;     /* of this table in bytes */
    uint32_t flags;    /* WSH_CLOSING, WSH_RESTORED, WSH_DEFLATE, and what is under WSH_CAUSE */
    uint64_t id;       /* the session's number: never 0, never reused */
    uint64_t buffered; /* bytes accepted for sending that the server still holds */
    WshStr protocol;   /* the chosen subprotocol, or empty */
} WshConn;

/* The opening handshake's request (RFC 6455, 4.1), with what the server made of it. */
typedef struct WshRequest {
    uint32_t size;           /* of this table in bytes */
    uint32_t flags;          /* WSH_TLS, WSH_HTTP2 */
    uint64_t id;             /* the id that the session will have */
    WshBytes target;         /* the request target, verbatim */
    WshStr path;             /* percent-decoded once */
    WshBytes query;          /* what follows the first `?`, raw */
    WshStr host;             /* the Host header, or :authority */
    WshStr origin;           /* the Origin header, or empty */
    WshStr remote_addr;      /* the other end of the transport: as a rule address:port; may be empty
                              * or of another form (unix:...) */
    WshStr client_addr;      /* the client: what a proxy that the server trusts says of it, `unknown`
                              * where that proxy names no address, or else remote_addr */
    WshStr user;             /* the user that the server found the client to be, or empty */
    const WshPair *headers;  /* in order, repeated ones repeated; no pseudo-headers */
    size_t n_headers;
    const WshPair *cookies;  /* of every Cookie line */
    size_t n_cookies;
    const WshStr *protocols; /* the subprotocols that the client offers, in its order */
    size_t n_protocols;
    const WshPair *params;   /* the parameters of a route such as /rooms/{room}, percent-decoded:
                              * {*path} can be ../../etc/passwd */
    size_t n_params;
    WshStr tls_version;      /* TLSv1.3, or empty */
    WshStr tls_sni;          /* the server name that the client asked for, or empty */
    WshBytes tls_client_cert; /* in DER, or empty */
} WshRequest;

/* The answer to the opening handshake. It is opaque, and valid inside a call of `handshake`
 * only. */
typedef struct WshResponse WshResponse;

/* The destination of what `snapshot`, `envelope` or `presence` writes; valid inside that call
 * only. */
typedef struct WshSink {
    uint32_t size;     /* of this table in bytes */
    uint32_t reserved; /* 0 */
    void *ctx;         /* the first argument of `write` */
    /* Appends bytes; WSH_TOO_BIG past the limit. */
    WshStatus(WSH_CALL *write)(void *ctx, const uint8_t *data, size_t len);
} WshSink;

/* One publication, member or kept value. */
typedef struct WshItem {
    uint64_t id;       /* the session of a member; else 0 */
    uint64_t version;  /* of a kept value; else 0 */
    uint32_t kind;     /* of a publication, WSH_TEXT or WSH_BINARY; else 0 */
    uint32_t flags;    /* 0 */
    WshStr name;       /* the key of a kept value; else empty */
    WshBytes value;    /* what was published, or kept, or what a member says of itself */
    WshBytes position; /* of a publication; else empty */
} WshItem;

/* The answer to an ask, see "Asks". It can be read until the callback returns. */
typedef struct WshAnswer {
    uint32_t size;        /* of this table in bytes */
    WshStatus status;     /* WSH_OK, or why it was not done: WSH_CONFLICT, WSH_TOO_BIG, WSH_FULL,
                           * WSH_UNAVAILABLE, WSH_UNSUPPORTED */
    uint32_t flags;       /* WSH_RECOVERED */
    uint32_t item_size;   /* of one item in bytes: see wsh_item */
    uint64_t version;
    uint64_t follows;     /* how many missed messages follow */
    WshBytes position;
    const WshItem *items; /* the first one; read the others by wsh_item */
    size_t n_items;
    WshBytes next;        /* where the next page begins, for the same function; empty after the
                           * last page */
} WshAnswer;

/* A change of the members of a topic. */
typedef struct WshPresenceChange {
    uint32_t size;    /* of this table in bytes */
    uint32_t kind;    /* WSH_JOINED, WSH_LEFT, WSH_CHANGED; ignore one that you do not know */
    uint64_t version; /* of the members after the change; versions of one topic have no holes */
    uint64_t id;      /* the session of the member */
    WshStr topic;
    WshBytes value;   /* the member's; the last one if it left */
} WshPresenceChange;

/* The functions that the server offers a plugin. `ctx` stands for this handler in this generation.
 *
 * [callback] functions are for the WshConn of the running callback, on its thread. [any thread]
 * functions may be called at any time from anywhere. They find a session by its id; the id of a
 * session that is over, or of another handler's, is WSH_GONE. [handshake] functions are for inside
 * `handshake` only. All arguments are read, or copied, before a function returns. */
struct WshHost {
    uint32_t size;             /* of this table in bytes */
    uint32_t abi_minor;        /* the server's ABI minor */
    void *ctx;                 /* the first argument of the functions that take one */
    const uint32_t *log_level; /* the level that is logged now; atomic, relaxed */

    /* [any thread] Whether this is the WshConn of the callback that runs on this thread, so that
     * its table may be read: WSH_OK, or WSH_MISUSE for any other pointer. */
    WshStatus(WSH_CALL *check)(const WshConn *conn);
    /* [callback] Queues a message, or with WSH_MORE a part of one, at once and in call order.
     * Answers how many bytes are buffered afterwards. WSH_GONE: the session is closing.
     * WSH_INVALID: text that is not UTF-8, or an opcode that is neither WSH_TEXT nor WSH_BINARY.
     * WSH_UNSUPPORTED: an unknown kind bit. WSH_TOO_BIG: the message passes the outbound limit.
     * Nothing was queued then, and the session closes, unless WSH_IF_ROOM asks for WSH_FULL.
     * WSH_DROPPED in the place of WSH_TOO_BIG: the limit's policy drops messages, and the session
     * goes on. A message that is longer than any may be is WSH_TOO_BIG as well, without further
     * effect. */
    int64_t(WSH_CALL *send)(WshConn *conn, uint32_t kind, const uint8_t *data, size_t len);
    /* [callback] Reserves max bytes, uninitialised; NULL if there are none. They can be written
     * until the next call with this WshConn or the end of the callback. Without a `commit` nothing
     * is sent. */
    uint8_t *(WSH_CALL *reserve)(WshConn *conn, size_t max);
    /* [callback] Queues the first len bytes of those that were reserved, like `send`. WSH_INVALID
     * unless the call with this WshConn before it was a `reserve` of at least as many bytes; a
     * `check` in between does not count. The reserved bytes are gone afterwards, whatever the
     * answer is. */
    int64_t(WSH_CALL *commit)(WshConn *conn, uint32_t kind, size_t len);
    /* [callback] Queues a Ping. Over 125 bytes: WSH_TOO_BIG. */
    WshStatus(WSH_CALL *ping)(WshConn *conn, const uint8_t *data, size_t len);
    /* [callback] Starts the closing handshake, also between two parts of a message, which then
     * stays incomplete. Code 0 is an empty body, without a reason. A code that the transport may
     * not send is WSH_INVALID (over WebSocket every one but 1000 to 1003, 1007 to 1014 and 3000 to
     * 4999). A reason over the transport's limit, 123 bytes for WebSocket, is WSH_TOO_BIG. A reason
     * is UTF-8 and may hold NUL. Afterwards a call that needs an open session answers WSH_GONE, and
     * messages that were sent by id and have not left are dropped. `reads`, `watermark` and
     * `subscribe` answer WSH_OK and have no effect. */
    WshStatus(WSH_CALL *close)(WshConn *conn, uint32_t code, WshBytes reason);
    /* [callback] Drops the connection without a Close frame. */
    WshStatus(WSH_CALL *abort)(WshConn *conn);
    /* [callback] Sets a timer, which runs out once. It replaces a timer with its token; UINT64_MAX
     * as after_ms cancels that. The token is a number of the handler's own; it survives a move. */
    WshStatus(WSH_CALL *timer)(WshConn *conn, uint64_t token, uint64_t after_ms);
    /* [callback] Inbound backpressure: 0 holds the peer's messages back at once, and all that comes
     * after them (its Pings, its Close); 1 lets them in. Any other number is WSH_INVALID. A
     * connection that is lost while it is held back ends the session, though not before a Ping of
     * the server's. */
    WshStatus(WSH_CALL *reads)(WshConn *conn, uint32_t on);
    /* [callback] Has `drain` called once each time that buffered, having been above high, is at
     * most low. WSH_INVALID if low is above high. */
    WshStatus(WSH_CALL *watermark)(WshConn *conn, uint64_t low, uint64_t high);
    /* [callback] Joins (1) or leaves (0) a topic; any other `on` is WSH_INVALID. WSH_TOO_BIG for a
     * topic that is too long, and for one more than a session may have. */
    WshStatus(WSH_CALL *subscribe)(WshConn *conn, WshStr topic, uint32_t on);

    /* [any thread] Sends a whole message to a session of this handler, also from inside the
     * session's own callback. Answers how many bytes are buffered; WSH_FULL if the session's inbox
     * is full. A message to a handshake that is WSH_PENDING waits until after `open`. */
    int64_t(WSH_CALL *send_to)(void *ctx, uint64_t id, uint32_t kind, const uint8_t *data,
                               size_t len);
    /* [any thread] Closes a session of this handler, after the messages that were sent to it
     * before. For the code and the reason see `close`. Afterwards `send_to`, `notify` and
     * `close_to` answer WSH_GONE. A handshake that is WSH_PENDING is refused: 503 for the codes
     * 1001, 1012 and 1013, else 403. */
    WshStatus(WSH_CALL *close_to)(void *ctx, uint64_t id, uint32_t code, WshBytes reason);
    /* [any thread] Sends a whole message to the subscribers of a topic but `except` (0 is none).
     * Answers how many of them this server has, as last known, or WSH_FULL. WSH_TOO_BIG: the
     * topic's history could never have it, by its `bytes` or `history_bytes_max`. Nothing was
     * published then, and the history keeps what it has. */
    int64_t(WSH_CALL *publish)(void *ctx, WshStr topic, uint32_t kind, const uint8_t *data,
                               size_t len, uint64_t except);
    /* [any thread] Has the session's `wake` called, or its `handshake` called again. */
    WshStatus(WSH_CALL *wake)(void *ctx, uint64_t id);
    /* [any thread] Like `wake`, but `ms` milliseconds later. A session or handshake has one such
     * alarm: a later call replaces it, and UINT64_MAX cancels it. */
    WshStatus(WSH_CALL *wake_after)(void *ctx, uint64_t id, uint64_t ms);
    /* [any thread] Has the session's `note` called with a number of the handler's own, never a
     * pointer: once for each call, in order with what is sent by id. WSH_FULL if the session's
     * inbox is full. A note to a handshake that is WSH_PENDING waits until after `open`. */
    WshStatus(WSH_CALL *notify)(void *ctx, uint64_t id, uint64_t note);
    /* [any thread] Runs `run(arg)` once on a thread of the host's, which keeps the image mapped
     * until it returns. `shutdown` does not wait for such threads. With any answer but WSH_OK, arg
     * is still the caller's. */
    WshStatus(WSH_CALL *spawn)(void *ctx, void(WSH_CALL *run)(void *arg), void *arg);
    /* [any thread] Says why the callback running on this thread is about to fail. Answers
     * WSH_ERROR, so that a callback may `return host->fail(...)`. */
    WshStatus(WSH_CALL *fail)(void *ctx, WshStr why);
    /* [any thread] Writes one line of log; id is the session that it is about. 0 stands for the
     * session of the callback or the `handshake` that runs on this thread, if there is one. Compare
     * the level with *log_level first: a line above it is dropped. */
    void(WSH_CALL *log)(void *ctx, uint64_t id, uint32_t level, WshStr target, WshStr message,
                const WshPair *fields, size_t n_fields);

    /* [handshake] Appends a header line to the 101 or the refusal. Control characters but the tab,
     * and the handshake's own names: WSH_INVALID. More than 16 KiB in all: WSH_TOO_BIG. */
    WshStatus(WSH_CALL *response_header)(WshResponse *response, WshStr name, WshBytes value);
    /* [handshake] Chooses the subprotocol; one that the client did not offer is WSH_INVALID. */
    WshStatus(WSH_CALL *response_protocol)(WshResponse *response, WshStr name);
    /* [handshake] Sets the status, 300 to 599, and the body of a refusal; the callback then answers
     * WSH_REJECT. A body that the status may not have (304) is left out. */
    WshStatus(WSH_CALL *response_reject)(WshResponse *response, uint32_t status, WshBytes body);
    /* [handshake] Extensions that may be negotiated: bit 0 permessage-deflate. Unknown bits are
     * ignored. */
    WshStatus(WSH_CALL *response_extensions)(WshResponse *response, uint32_t allow);

    /* [any thread] The optional table with this id, `wsh.NAME/REV`, or NULL; see wsh_raw.h. It
     * lives as long as the process. */
    const void *(WSH_CALL *extension)(void *ctx, WshStr id);

    /* [callback] Asks to join a topic behind a position, or with its last messages; see "Asks".
     * With a position, everything since then follows. Without one, and where that cannot be, the
     * last `last` messages do. WSH_INVALID: the session has joined the topic already, or the
     * position is longer than any. WSH_TOO_BIG: as for `subscribe`, which leaves the topic again. */
    WshStatus(WSH_CALL *subscribe_from)(WshConn *conn, uint64_t token, WshStr topic,
                                        WshBytes position, uint64_t last);
    /* [callback] Asks to be a member of a topic, with a small value for those who ask for its
     * members. A member that enters again has the new value. A session is a member until `leave` or
     * its end, over every move. It need not be a subscriber. */
    WshStatus(WSH_CALL *enter)(WshConn *conn, uint64_t token, WshStr topic, WshBytes value);
    /* [callback] Ends what `enter` began. It is no ask. */
    WshStatus(WSH_CALL *leave)(WshConn *conn, WshStr topic);
    /* [any thread] Like `publish`, and asks for the publication's position, which comes once the
     * history has it. The answer is WSH_TOO_BIG for a message that alone is larger than the history
     * may be; nothing was published then. */
    WshStatus(WSH_CALL *publish_acked)(void *ctx, uint64_t id, uint64_t token, WshStr topic,
                                       uint32_t kind, const uint8_t *data, size_t len,
                                       uint64_t except);
    /* [any thread] Asks for publications of a topic, the oldest first: at most `limit` behind a
     * position, or without one the last `limit`. A page may have fewer: it begins with the oldest of
     * them, and says where the next one begins. WSH_RECOVERED says that nothing is missing behind the
     * position; without it there are no items. */
    WshStatus(WSH_CALL *history)(void *ctx, uint64_t id, uint64_t token, WshStr topic,
                                 WshBytes position, uint64_t limit);
    /* [any thread] Asks for members of a topic, at most `limit`, in no promised order. `after` is
     * `next` of the page before, or empty. */
    WshStatus(WSH_CALL *present)(void *ctx, uint64_t id, uint64_t token, WshStr topic,
                                 WshBytes after, uint64_t limit);
    /* [any thread] Asks for a value that this handler keeps, in all its generations. */
    WshStatus(WSH_CALL *store_get)(void *ctx, uint64_t id, uint64_t token, WshStr key);
    /* [any thread] Asks to keep a value, if the value of the key has the version `version`: 0 is no
     * value, WSH_ANY_VERSION any. The value is kept for ttl_ms milliseconds from when this is carried
     * out, give or take some 10 ms; 0 is until it is deleted. */
    WshStatus(WSH_CALL *store_put)(void *ctx, uint64_t id, uint64_t token, WshStr key,
                                   WshBytes value, uint64_t version, uint64_t ttl_ms);
    /* [any thread] Asks to delete a value, if it has the version `version`; see `store_put`. */
    WshStatus(WSH_CALL *store_delete)(void *ctx, uint64_t id, uint64_t token, WshStr key,
                                      uint64_t version);
    /* [any thread] Asks for the values whose keys begin with `prefix`, at most `limit`, in no
     * promised order. `after` is `next` of the page before, or empty. A key that is there from the
     * first page to the last comes exactly once. */
    WshStatus(WSH_CALL *store_list)(void *ctx, uint64_t id, uint64_t token, WshStr prefix,
                                    WshBytes after, uint64_t limit);
};

/* The callbacks of a handler. `open`, `message`, `destroy` and `shutdown` must not be NULL. For the
 * others NULL means: `handshake` accepts, `closing` echoes the code, `closed` is over, `self_test`
 * finds the handler fit, `envelope` sends messages as they are, and the rest do nothing. Without
 * `snapshot` and `restore` sessions stay in their generation.
 *
 * A callback that answers below 0 ends its session with 1011. `open message ping pong drain timer
 * wake note answer` may answer WSH_DONE, which closes with 1000. */
struct WshVtable {
    uint32_t size;  /* of this table in bytes */
    uint32_t flags; /* WSH_STREAM, WSH_BATCHES */

    /* Accepts or refuses: WSH_OK, WSH_REJECT, WSH_PENDING, WSH_ABORT; below 0 is a 500. It may run
     * beside that of other clients. *attempt is NULL at first. What the callback leaves there is
     * there again in the next call, and is then taken by `open` or freed by `abandon`. Default:
     * WSH_OK. */
    WshStatus(WSH_CALL *handshake)(void *handler, const WshRequest *request, WshResponse *response,
                           void **attempt);
    /* Frees an attempt that no `open` will take. */
    void(WSH_CALL *abandon)(void *handler, void *attempt);
    /* Makes the session after the 101 was written. It takes attempt, also when it fails. It may run
     * beside that of other clients. */
    WshStatus(WSH_CALL *open)(void *handler, WshConn *conn, const WshRequest *request,
                              void *attempt, void **session);
    /* One message, or with WSH_STREAM one part. Text is valid UTF-8. */
    WshStatus(WSH_CALL *message)(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                         size_t len);
    /* A Ping came, which the host has answered. */
    WshStatus(WSH_CALL *ping)(void *session, WshConn *conn, const uint8_t *data, size_t len);
    /* A Pong came. */
    WshStatus(WSH_CALL *pong)(void *session, WshConn *conn, const uint8_t *data, size_t len);
    /* Most of what waited for the peer is gone; see `watermark`. */
    WshStatus(WSH_CALL *drain)(void *session, WshConn *conn);
    /* A timer ran out. */
    WshStatus(WSH_CALL *timer)(void *session, WshConn *conn, uint64_t token);
    /* WshHost.wake was called, or the alarm of WshHost.wake_after rang; may come without cause. */
    WshStatus(WSH_CALL *wake)(void *session, WshConn *conn);
    /* WshHost.notify was called with this number. */
    WshStatus(WSH_CALL *note)(void *session, WshConn *conn, uint64_t note);
    /* The peer closes first. Code 1005: its Close had none. The reason is UTF-8 and may hold NUL.
     * WSH_OK echoes the code unless `close` or `abort` was called; WSH_PENDING answers later,
     * within the close timeout. */
    WshStatus(WSH_CALL *closing)(void *session, WshConn *conn, uint32_t code, WshBytes reason);
    /* The session is over. It comes exactly once. Code 1006: no Close was received. WSH_PENDING:
     * `wake` goes on for as long as it answers WSH_PENDING, or until a deadline. */
    WshStatus(WSH_CALL *closed)(void *session, WshConn *conn, uint32_t code, WshBytes reason);
    /* Frees the session: exactly once for each that exists. */
    void(WSH_CALL *destroy)(void *session);
    /* Writes the session's state, and changes nothing outside the session, which may go on
     * afterwards. WSH_AGAIN: not now. */
    WshStatus(WSH_CALL *snapshot)(void *session, WshConn *conn, const WshSink *sink);
    /* Makes a session from state that an older generation or this one wrote, perhaps in a process
     * that has ended. Below 0: it stays there. */
    WshStatus(WSH_CALL *restore)(void *handler, WshConn *conn, uint32_t schema,
                                 const uint8_t *state, size_t len, void **session);
    /* Whether the handler is fit to serve; below 0: it is not used. On a control thread. */
    WshStatus(WSH_CALL *self_test)(void *handler);
    /* 1: clients come from now on. 0: the generation is superseded or removed; sessions may remain,
     * and background work stops. On a control thread. */
    void(WSH_CALL *serving)(void *handler, uint32_t on);
    /* Frees the handler, after its last session. On a control thread. */
    void(WSH_CALL *shutdown)(void *handler);
    /* The plugin's table with this id, `wsh.NAME/REV`, or NULL. */
    const void *(WSH_CALL *extension)(void *handler, WshStr id);

    /* The answer to an ask of the session, see "Asks". */
    WshStatus(WSH_CALL *answer)(void *session, WshConn *conn, uint64_t token,
                                const WshAnswer *answer);
    /* The answer to an ask with id 0. It may run beside any other callback, between `serving(1)`
     * and `shutdown`. */
    void(WSH_CALL *answered)(void *handler, uint64_t token, const WshAnswer *answer);
    /* Makes the form in which a publication goes to the peers, with its position in it. It is
     * called for each publication of a topic with history, once on each server and again for each
     * session that it is sent to later, beside any other callback, though for one topic in order.
     * What was written is sent in the place of the message, as the kind that the message has. The
     * history keeps the message as it was published. After WSH_PANIC a generation may not be called
     * for that message again. While a call does not return, the topic waits,
     * and `publish` answers WSH_FULL in the end. Newer code then makes the form of that message,
     * too. Default: WSH_DONE. */
    WshStatus(WSH_CALL *envelope)(void *handler, WshStr topic, WshBytes position, uint32_t kind,
                                  const uint8_t *data, size_t len, const WshSink *sink);
    /* Hears how the members of a topic of this handler change, once on each server, for one topic
     * in order. What was written, if anything, is sent to the topic's subscribers of this server, as
     * the kind that the callback has left in *kind, WSH_TEXT unless it says otherwise. */
    WshStatus(WSH_CALL *presence)(void *handler, const WshPresenceChange *change, uint32_t *kind,
                                  const WshSink *sink);
};

/* Whether a table has a field, since its maker may be older: WSH_HAS(conn, protocol). */
#define WSH_HAS(table, field)                                                                      \
    ((size_t)((const char *)&(table)->field - (const char *)(table)) + sizeof((table)->field) <=   \
     (table)->size)

/* Item i of an answer; i is below n_items. */
static inline const WshItem *wsh_item(const WshAnswer *answer, size_t i) {
    return (const WshItem *)(const void *)((const char *)answer->items + i * answer->item_size);
}

/* A C string in the form of the ABI. It must outlive the call. NULL is the empty text. */
static inline WshStr wsh_str(const char *text) {
    WshStr str;
    str.ptr = (const uint8_t *)text;
    str.len = text ? strlen(text) : 0;
    return str;
}

/* Bytes in the form of the ABI. They must outlive the call. */
static inline WshBytes wsh_bytes(const void *data, size_t len) {
    WshBytes bytes;
    bytes.ptr = (const uint8_t *)data;
    bytes.len = len;
    return bytes;
}

/* Whether a text, or bytes, are exactly this C string. */
static inline int wsh_equals(WshStr str, const char *text) {
    return str.len == strlen(text) && (str.len == 0 || memcmp(str.ptr, text, str.len) == 0);
}

/* The first pair of exactly that name, or NULL: for cookies and parameters. */
static inline const WshPair *wsh_find(const WshPair *pairs, size_t n, const char *name) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (wsh_equals(pairs[i].name, name)) return &pairs[i];
    }
    return NULL;
}

/* The first header of that name, in any case of ASCII, or NULL. */
static inline const WshPair *wsh_find_header(const WshPair *pairs, size_t n, const char *name) {
    size_t i, j;
    for (i = 0; i < n; i++) {
        for (j = 0; j < pairs[i].name.len && name[j]; j++) {
            unsigned char a = pairs[i].name.ptr[j], b = (unsigned char)name[j];
            if (a >= 'A' && a <= 'Z') a = (unsigned char)(a + 32);
            if (b >= 'A' && b <= 'Z') b = (unsigned char)(b + 32);
            if (a != b) break;
        }
        if (j == pairs[i].name.len && name[j] == '\0') return &pairs[i];
    }
    return NULL;
}

/* The name of a status, for a line of log. */
static inline const char *wsh_status_name(int64_t status) {
    switch (status) {
    case WSH_OK: return "OK";
    case WSH_AGAIN: return "AGAIN";
    case WSH_REJECT: return "REJECT";
    case WSH_DONE: return "DONE";
    case WSH_PENDING: return "PENDING";
    case WSH_ABORT: return "ABORT";
    case WSH_ERROR: return "ERROR";
    case WSH_PANIC: return "PANIC";
    case WSH_GONE: return "GONE";
    case WSH_TOO_BIG: return "TOO_BIG";
    case WSH_UNSUPPORTED: return "UNSUPPORTED";
    case WSH_INVALID: return "INVALID";
    case WSH_MISUSE: return "MISUSE";
    case WSH_FULL: return "FULL";
    case WSH_CONFLICT: return "CONFLICT";
    case WSH_UNAVAILABLE: return "UNAVAILABLE";
    case WSH_DROPPED: return "DROPPED";
    default: return "no status";
    }
}

/* Whether a line of this level would be logged: ask before you build one. */
static inline int wsh_logs(const WshHost *host, uint32_t level) {
    return level <= *(const volatile uint32_t *)host->log_level;
}

/* One line of log without fields. */
static inline void wsh_log(const WshHost *host, uint32_t level, const char *message) {
    if (wsh_logs(host, level)) {
        host->log(host->ctx, 0, level, wsh_str(NULL), wsh_str(message), NULL, 0);
    }
}

#if defined(_WIN32)
#define WSH_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define WSH_EXPORT __attribute__((visibility("default")))
#else
#define WSH_EXPORT
#endif

#ifdef __cplusplus
#define WSH_EXTERN extern "C"
#else
#define WSH_EXTERN extern
#endif

/* What the handler is, in a sentence of at most 255 bytes, for those who look at the server. Define
 * it before this header is included. */
#ifndef WSH_DESCRIPTION
#define WSH_DESCRIPTION ""
#endif

/* The compiler's name in the descriptor, at most 63 bytes. Define it before for another text. */
#define WSH_TEXT_OF_(x) #x
#define WSH_TEXT_OF(x) WSH_TEXT_OF_(x)
#ifndef WSH_TOOLCHAIN
#if defined(__clang__)
#define WSH_TOOLCHAIN                                                                              \
    "clang " WSH_TEXT_OF(__clang_major__) "." WSH_TEXT_OF(__clang_minor__) "." WSH_TEXT_OF(        \
        __clang_patchlevel__)
#elif defined(__GNUC__)
#define WSH_TOOLCHAIN                                                                              \
    "gcc " WSH_TEXT_OF(__GNUC__) "." WSH_TEXT_OF(__GNUC_MINOR__) "." WSH_TEXT_OF(                  \
        __GNUC_PATCHLEVEL__)
#else
#define WSH_TOOLCHAIN "unknown"
#endif
#endif

/* The oldest minor of a server that the plugin works with. Define it before for an older one, if
 * the plugin asks WSH_HAS before it uses newer fields. */
#ifndef WSH_MIN_HOST_MINOR
#define WSH_MIN_HOST_MINOR WSH_ABI_MINOR
#endif

/* Makes this library a plugin. It is written once, at file scope. Name (at most 63 bytes) and
 * version (31) are string literals; the route comes from the name of the file. */
#define WSH_DEFINE(name, version, init) WSH_DEFINE_WITH(name, version, init, 0u, 0u, 0u)

/* Like WSH_DEFINE, with WshDescriptor.flags, the schema of the state that `snapshot` writes, and
 * the oldest that `restore` reads. */
#define WSH_DEFINE_WITH(name, version, init, flags, schema, schema_min)                            \
    WSH_EXTERN WSH_EXPORT const WshDescriptor WSH_HANDLER;                                         \
    const WshDescriptor WSH_HANDLER = {{0x89, 'W', 'S', 'H', '\r', '\n', 0x1a, '\n'},              \
                                       WSH_ABI_MAJOR,                                              \
                                       WSH_ABI_MINOR,                                              \
                                       WSH_MIN_HOST_MINOR,                                         \
                                       (uint32_t)sizeof(WshDescriptor),                            \
                                       (flags),                                                    \
                                       (schema),                                                   \
                                       (schema_min),                                               \
                                       0u,                                                         \
                                       name,                                                       \
                                       version,                                                    \
                                       WSH_TOOLCHAIN,                                              \
                                       init,                                                       \
                                       WSH_DESCRIPTION}

#ifdef __cplusplus
}
#endif

#endif
