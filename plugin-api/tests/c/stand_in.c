/* A handler that calls every function of the host, and a test of it by wsh_test.h, in one file.
 * C99 and C++11. It prints the line of the first claim that fails. */
#include <wsh_test.h>

#define CLAIM(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            fprintf(stderr, "line %d: " #claim "\n", __LINE__);                                    \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static const WshHost *host;
static WshConn *kept_conn;
static WshResponse *kept_response;
/* The events so far, one letter each. */
static char seen[64];
static int asks_first, fails_open, closes_late;
static int attempts;

static void see(char what) {
    size_t n = strlen(seen);
    if (n + 1 < sizeof seen) seen[n] = what;
}

static int saw(const char *what) {
    const int is_same = strcmp(seen, what) == 0;
    if (!is_same) fprintf(stderr, "`%s` was wanted, `%s` was seen\n", what, seen);
    memset(seen, 0, sizeof seen);
    return is_same;
}

static WshBytes of_length(size_t len) {
    static uint8_t bytes[2048];
    memset(bytes, 'x', sizeof bytes);
    return wsh_bytes(bytes, len);
}

/* Breaks every rule that a call with the Conn can break. Returns the line that fails, or 0. */
static int break_rules(WshConn *conn) {
    static const uint8_t latin[] = {'a', 0xe9};
    const WshBytes nothing = wsh_str(NULL);
    WshConn other = *conn;
#define RULE(call, status)                                                                         \
    if ((int64_t)(call) != (status)) return __LINE__
    RULE(host->check(conn), WSH_OK);
    RULE(host->check(&other), WSH_MISUSE);
    RULE(host->check(NULL), WSH_MISUSE);
    RULE(host->send(&other, WSH_TEXT, NULL, 0), WSH_MISUSE);
    RULE(host->send(NULL, WSH_TEXT, NULL, 0), WSH_MISUSE);
    RULE(host->send((WshConn *)(void *)8, WSH_TEXT, NULL, 0), WSH_MISUSE);
    RULE(host->send(conn, WSH_TEXT, NULL, 1), WSH_INVALID);
    RULE(host->send(conn, WSH_TEXT, NULL, SIZE_MAX), WSH_INVALID);
    RULE(host->send(conn, WSH_BINARY, of_length(0).ptr, 1024u * 1024u * 1024u + 1u), WSH_TOO_BIG);
    RULE(host->send_to(host->ctx, conn->id, WSH_BINARY, of_length(0).ptr, 1024u * 1024u * 1024u + 1u),
         WSH_TOO_BIG);
    RULE(host->send_to(host->ctx, conn->id, WSH_BINARY | WSH_IF_ROOM, NULL, 0), WSH_UNSUPPORTED);
    RULE(host->send_to(host->ctx, conn->id, WSH_BINARY | WSH_FOLLOWED, NULL, 0), WSH_UNSUPPORTED);
    RULE(host->publish(host->ctx, wsh_str("a"), WSH_TEXT | WSH_IF_ROOM, NULL, 0, 0),
         WSH_UNSUPPORTED);
    RULE(host->send(conn, WSH_TEXT, latin, SIZE_MAX), WSH_TOO_BIG);
    RULE(host->send(conn, WSH_TEXT, latin, 2), WSH_INVALID);
    RULE(host->send(conn, 3, NULL, 0), WSH_INVALID);
    RULE(host->send(conn, WSH_TEXT | (1u << 30), NULL, 0), WSH_UNSUPPORTED);
    RULE(host->ping(conn, of_length(126).ptr, 126), WSH_TOO_BIG);
    RULE(host->close(conn, 1005, nothing), WSH_INVALID);
    RULE(host->close(conn, 999, nothing), WSH_INVALID);
    RULE(host->close(conn, 5000, nothing), WSH_INVALID);
    RULE(host->close(conn, 0, wsh_str("why")), WSH_INVALID);
    RULE(host->close(conn, 1000, of_length(124)), WSH_TOO_BIG);
    RULE(host->close(conn, 1000, wsh_bytes(latin, 2)), WSH_INVALID);
    RULE(host->reads(conn, 2), WSH_INVALID);
    RULE(host->watermark(conn, 2, 1), WSH_INVALID);
    RULE(host->subscribe(conn, nothing, 1), WSH_INVALID);
    RULE(host->subscribe(conn, wsh_bytes("a\0b", 3), 1), WSH_INVALID);
    RULE(host->subscribe(conn, of_length(256), 1), WSH_TOO_BIG);
    RULE(host->subscribe(conn, wsh_str("a"), 2), WSH_INVALID);
    RULE(host->commit(conn, WSH_TEXT, 0), WSH_INVALID);
    if (host->reserve(conn, 8) == NULL) return __LINE__;
    RULE(host->commit(conn, WSH_TEXT, 9), WSH_INVALID);
    RULE(host->commit(conn, WSH_TEXT, 8), WSH_INVALID);
    if (host->reserve(conn, 8) == NULL) return __LINE__;
    RULE(host->reads(conn, 1), WSH_OK);
    RULE(host->commit(conn, WSH_TEXT, 0), WSH_INVALID);
    if (host->reserve(conn, SIZE_MAX) != NULL) return __LINE__;
    RULE(host->send_to(host->ctx, 0, WSH_TEXT, NULL, 0), WSH_GONE);
    RULE(host->send_to(host->ctx, 77, WSH_TEXT, NULL, 0), WSH_GONE);
    RULE(host->close_to(host->ctx, conn->id, 1006, nothing), WSH_INVALID);
    RULE(host->wake(host->ctx, 77), WSH_GONE);
    RULE(host->wake_after(host->ctx, 77, 1), WSH_GONE);
    RULE(host->notify(host->ctx, 77, 1), WSH_GONE);
    RULE(host->publish(host->ctx, nothing, WSH_TEXT, NULL, 0, 0), WSH_INVALID);
    RULE(host->spawn(host->ctx, NULL, NULL), WSH_INVALID);
    RULE(host->response_header(kept_response, wsh_str("A"), wsh_str("b")), WSH_MISUSE);
    RULE(host->extension(host->ctx, wsh_str("wsh.raw/1")) != NULL, 0);
    return 0;
}

static int break_response_rules(WshResponse *response) {
    RULE(host->response_header(NULL, wsh_str("A"), wsh_str("b")), WSH_MISUSE);
    RULE(host->response_header(response, wsh_str("A B"), wsh_str("b")), WSH_INVALID);
    RULE(host->response_header(response, wsh_str("A"), wsh_str("b\r\nC: d")), WSH_INVALID);
    RULE(host->response_header(response, wsh_str("Upgrade"), wsh_str("b")), WSH_INVALID);
    RULE(host->response_header(response, wsh_str("A"), wsh_str("b")), WSH_OK);
    RULE(host->response_protocol(response, wsh_str("other")), WSH_INVALID);
    RULE(host->response_reject(response, 299, wsh_str("")), WSH_INVALID);
    RULE(host->response_reject(response, 600, wsh_str("")), WSH_INVALID);
    RULE(host->response_extensions(response, 8), WSH_OK);
    return 0;
}

static WshStatus on_handshake(void *handler, const WshRequest *request, WshResponse *response,
                              void **attempt) {
    const int line = break_response_rules(response);
    (void)handler;
    see('h');
    kept_response = response;
    if (line) return fprintf(stderr, "stand_in.c:%d\n", line), WSH_ERROR;
    if (asks_first && *attempt == NULL) {
        *attempt = &attempts;
        attempts++;
        host->wake_after(host->ctx, request->id, 50);
        return WSH_PENDING;
    }
    if (request->n_protocols) host->response_protocol(response, request->protocols[0]);
    if (wsh_equals(request->path, "/no")) {
        host->response_reject(response, 401, wsh_str("no"));
        return WSH_REJECT;
    }
    return WSH_OK;
}

static void on_abandon(void *handler, void *attempt) {
    (void)handler;
    see('a');
    if (attempt == &attempts) attempts--;
}

static WshStatus on_open(void *handler, WshConn *conn, const WshRequest *request, void *attempt,
                         void **session) {
    (void)handler, (void)request;
    see('o');
    if (attempt == &attempts) attempts--;
    if (fails_open) return host->fail(host->ctx, wsh_str("it was told to"));
    *session = malloc(1);
    kept_conn = conn;
    return WSH_OK;
}

static void WSH_CALL in_background(void *arg) {
    see('b');
    host->send_to(host->ctx, *(const uint64_t *)arg, WSH_TEXT, (const uint8_t *)"later", 5);
}

static WshStatus on_message(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                            size_t len) {
    static uint64_t id;
    static uint8_t large[600 * 1024];
    const WshBytes it = wsh_bytes(data, len);
    WshPair field;
    (void)session;
    if (wsh_equals(it, "rules")) {
        const int line = break_rules(conn);
        if (line) fprintf(stderr, "stand_in.c:%d\n", line);
        return line ? WSH_ERROR : WSH_OK;
    }
    /* A server accepts both. */
    if (wsh_equals(it, "lie")) {
        static const uint8_t surrogate[] = {0xed, 0xa0, 0x80};
        if (host->wake(conn, conn->id) != WSH_MISUSE) return WSH_ERROR;
        return host->send(conn, WSH_TEXT | WSH_TRUSTED_UTF8, surrogate, 3) == WSH_INVALID
                   ? WSH_OK
                   : WSH_ERROR;
    }
    if (wsh_equals(it, "close")) return host->close(conn, 4000, wsh_str("a reason"));
    if (wsh_equals(it, "close twice")) {
        host->close(conn, 4000, wsh_str(NULL));
        return host->close(conn, 4000, wsh_str(NULL)) == WSH_GONE ? WSH_OK : WSH_ERROR;
    }
    if (wsh_equals(it, "abort")) return host->abort(conn);
    if (wsh_equals(it, "done")) return WSH_DONE;
    if (wsh_equals(it, "fail")) return host->fail(host->ctx, wsh_str("it was asked to"));
    if (wsh_equals(it, "pending")) return WSH_PENDING;
    if (wsh_equals(it, "timer")) return host->timer(conn, 7, 100);
    if (wsh_equals(it, "join")) return host->subscribe(conn, wsh_str("room"), 1);
    if (wsh_equals(it, "hold")) return host->reads(conn, 0);
    if (wsh_equals(it, "wake")) return host->wake(host->ctx, conn->id);
    if (wsh_equals(it, "note")) return host->notify(host->ctx, conn->id, 9);
    if (wsh_equals(it, "ping")) return host->ping(conn, data, len);
    if (wsh_equals(it, "order")) {
        host->send_to(host->ctx, conn->id, WSH_TEXT, (const uint8_t *)"second", 6);
        host->send(conn, WSH_TEXT, (const uint8_t *)"first", 5);
        return WSH_OK;
    }
    if (wsh_equals(it, "spawn")) {
        id = conn->id;
        return host->spawn(host->ctx, in_background, &id);
    }
    if (wsh_equals(it, "log")) {
        field.name = wsh_str("a");
        field.value = wsh_str("b");
        host->log(host->ctx, conn->id, WSH_LOG_INFO, wsh_str("t"), wsh_str("a line"), &field, 1);
        return WSH_OK;
    }
    if (wsh_equals(it, "begin") || wsh_equals(it, "finish")) {
        const uint32_t more = wsh_equals(it, "begin") ? WSH_MORE : 0;
        return host->send(conn, WSH_BINARY | more, NULL, 0) < 0 ? WSH_ERROR : WSH_OK;
    }
    if (wsh_equals(it, "large")) {
        host->watermark(conn, 10, 1000);
        host->send(conn, WSH_BINARY, large, sizeof large);
        return host->send(conn, WSH_BINARY | WSH_IF_ROOM, large, sizeof large) == WSH_FULL
                   ? WSH_OK
                   : WSH_ERROR;
    }
    if (wsh_equals(it, "too large")) {
        return host->send(conn, WSH_BINARY, large, sizeof large) == WSH_TOO_BIG ? WSH_OK
                                                                                : WSH_ERROR;
    }
    if (host->publish(host->ctx, wsh_str("room"), kind, data, len, conn->id) < 0) return WSH_ERROR;
    {
        uint8_t *room = host->reserve(conn, len + 1);
        if (room == NULL) return WSH_ERROR;
        wsh_log(host, WSH_LOG_DEBUG, "takes none of the room");
        if (len) memcpy(room, data, len);
        room[len] = '!';
        return host->commit(conn, kind, len + 1) > 0 ? WSH_OK : WSH_ERROR;
    }
}

static WshStatus on_timer(void *session, WshConn *conn, uint64_t token) {
    (void)session;
    see('t');
    return token == 7 && host->send(conn, WSH_TEXT, (const uint8_t *)"tick", 4) > 0 ? WSH_OK
                                                                                     : WSH_ERROR;
}

static WshStatus on_wake(void *session, WshConn *conn) {
    (void)session;
    see('w');
    if (closes_late) return WSH_DONE;
    return host->check(conn);
}

static WshStatus on_note(void *session, WshConn *conn, uint64_t note) {
    (void)session, (void)conn;
    see('n');
    return note == 9 ? WSH_OK : WSH_ERROR;
}

static WshStatus on_drain(void *session, WshConn *conn) {
    (void)session, (void)conn;
    see('d');
    return WSH_OK;
}

static WshStatus on_closing(void *session, WshConn *conn, uint32_t code, WshBytes reason) {
    (void)session, (void)code, (void)reason;
    see('c');
    if (!closes_late) return WSH_OK;
    host->wake_after(host->ctx, conn->id, 10);
    return WSH_PENDING;
}

static WshStatus on_closed(void *session, WshConn *conn, uint32_t code, WshBytes reason) {
    (void)session, (void)code, (void)reason;
    see('C');
    return host->send(conn, WSH_TEXT, NULL, 0) == WSH_GONE ? WSH_OK : WSH_ERROR;
}

static void on_destroy(void *session) {
    see('D');
    free(session);
}

static WshStatus on_snapshot(void *session, WshConn *conn, const WshSink *sink) {
    (void)session;
    sink->write(sink->ctx, (const uint8_t *)"st", 2);
    wsh_log(host, WSH_LOG_INFO, "between two parts of the state");
    if (sink->write(sink->ctx, NULL, 1) != WSH_INVALID) return WSH_ERROR;
    if (sink->write(NULL, NULL, 0) != WSH_MISUSE) return WSH_ERROR;
    if (sink->write(conn, (const uint8_t *)"st", 2) != WSH_MISUSE) return WSH_ERROR;
    if (host->check(conn) != WSH_OK || host->reserve(conn, 1) != NULL) return WSH_ERROR;
    if (host->send(conn, WSH_TEXT, NULL, 0) != WSH_MISUSE) return WSH_ERROR;
    return sink->write(sink->ctx, (const uint8_t *)"ate", 3);
}

static WshStatus on_restore(void *handler, WshConn *conn, uint32_t schema, const uint8_t *state,
                            size_t len, void **session) {
    (void)handler;
    if (schema != 3 || !wsh_equals(wsh_bytes(state, len), "state")) return WSH_ERROR;
    if (host->send(conn, WSH_TEXT, NULL, 0) != WSH_MISUSE) return WSH_ERROR;
    see('r');
    *session = malloc(1);
    return WSH_OK;
}

static void on_serving(void *handler, uint32_t on) {
    (void)handler;
    see(on ? 'S' : 's');
}

static void on_shutdown(void *handler) {
    (void)handler;
    see('X');
}

static WshStatus init(const WshHost *from, const WshInit *about, WshInstance *instance) {
    static WshVtable vtable;
    host = from;
    if (!wsh_equals(about->config_json, "{\"a\":1}")) return WSH_ERROR;
    vtable.size = (uint32_t)sizeof vtable;
    vtable.handshake = on_handshake;
    vtable.abandon = on_abandon;
    vtable.open = on_open;
    vtable.message = on_message;
    vtable.timer = on_timer;
    vtable.wake = on_wake;
    vtable.note = on_note;
    vtable.drain = on_drain;
    vtable.closing = on_closing;
    vtable.closed = on_closed;
    vtable.destroy = on_destroy;
    vtable.snapshot = on_snapshot;
    vtable.restore = on_restore;
    vtable.serving = on_serving;
    vtable.shutdown = on_shutdown;
    instance->vtable = &vtable;
    return WSH_OK;
}

WSH_DEFINE_WITH("stand_in", "1.0", init, WSH_MIGRATES, 3, 1);

static WshTest test;

/* The cause that the handler was told. */
static uint32_t cause(const WshTestSession *client) { return client->conn.flags & WSH_CAUSE; }

/* Checks how a session ends when it gets this text: with this close code, or with none for 0. */
static int ends(const char *told, uint32_t code) {
    WshTestSession *client = wsh_test_open(&test, NULL);
    wsh_test_text(client, told);
    CLAIM(client->phase == WSH_TEST_OVER);
    CLAIM(saw("hoCD"));
    if (code) CLAIM(wsh_test_got_close(client, code));
    CLAIM(cause(client) == (code == 1011 ? WSH_CAUSE_FAILED : WSH_CAUSE_HANDLER));
    CLAIM(wsh_test_take(&test, client, WSH_TEST_CLOSE) == NULL);
    CLAIM(wsh_test_text(client, "more") == WSH_GONE);
    return 0;
}

static int handshakes(void) {
    const WshStr offered[] = {wsh_str("one"), wsh_str("two")};
    WshRequest request = wsh_test_request();
    WshTestSession *client;
    const WshTestEvent *event;

    request.protocols = offered;
    request.n_protocols = 2;
    client = wsh_test_open(&test, &request);
    CLAIM(client->phase == WSH_TEST_OPEN && wsh_equals(client->conn.protocol, "one"));
    CLAIM((event = wsh_test_take(&test, client, WSH_TEST_HEADER)) != NULL);
    CLAIM(wsh_equals(event->name, "A") && wsh_equals(event->bytes, "b"));
    wsh_test_peer_leaves(client);
    CLAIM(saw("hoCD") && cause(client) == WSH_CAUSE_LOST);

    request.path = wsh_str("/no");
    client = wsh_test_open(&test, &request);
    CLAIM(client->phase == WSH_TEST_OVER && client->answered == WSH_REJECT);
    CLAIM((event = wsh_test_take(&test, client, WSH_TEST_REJECT)) != NULL && event->code == 401);
    CLAIM(saw("h"));

    asks_first = 1;
    client = wsh_test_open(&test, NULL);
    CLAIM(client->phase == WSH_TEST_ASKING);
    wsh_test_advance(&test, 49);
    CLAIM(client->phase == WSH_TEST_ASKING);
    wsh_test_advance(&test, 1);
    CLAIM(client->phase == WSH_TEST_OPEN && attempts == 0);
    wsh_test_peer_leaves(client);
    CLAIM(saw("hhoCD"));
    client = wsh_test_open(&test, NULL);
    host->close_to(host->ctx, client->conn.id, 1013, wsh_str(NULL));
    wsh_test_turn(&test);
    CLAIM(client->phase == WSH_TEST_OVER && attempts == 0);
    CLAIM((event = wsh_test_take(&test, client, WSH_TEST_REJECT)) != NULL && event->code == 503);
    CLAIM(saw("ha"));
    asks_first = 0;

    fails_open = 1;
    client = wsh_test_open(&test, NULL);
    CLAIM(client->phase == WSH_TEST_OVER && wsh_test_got_close(client, 1011));
    CLAIM(saw("ho"));
    fails_open = 0;
    CLAIM((event = wsh_test_take(&test, NULL, WSH_TEST_FAIL)) != NULL);
    CLAIM(wsh_equals(event->bytes, "it was told to"));
    return 0;
}

static int closes(void) {
    WshTestSession *client = wsh_test_open(&test, NULL);
    const WshTestEvent *event;
    wsh_test_text(client, "close");
    CLAIM((event = wsh_test_take(&test, client, WSH_TEST_CLOSE)) != NULL);
    CLAIM(event->code == 4000 && wsh_equals(event->bytes, "a reason"));
    CLAIM(saw("hoCD"));
    CLAIM(ends("close twice", 4000) == 0);
    CLAIM(ends("done", 1000) == 0);
    CLAIM(ends("fail", 1011) == 0);
    CLAIM(ends("pending", 1011) == 0);
    CLAIM(ends("abort", 0) == 0);

    client = wsh_test_open(&test, NULL);
    wsh_test_peer_closes(client, 1001, "bye");
    CLAIM(wsh_test_got_close(client, 1001) && saw("hocCD"));
    CLAIM(cause(client) == WSH_CAUSE_PEER);

    closes_late = 1;
    client = wsh_test_open(&test, NULL);
    wsh_test_peer_closes(client, 3001, "");
    CLAIM(client->phase == WSH_TEST_PEER_CLOSES);
    wsh_test_advance(&test, 10);
    CLAIM(wsh_test_got_close(client, 3001) && saw("hocwCD"));
    closes_late = 0;
    return 0;
}

static int talks(void) {
    WshTestSession *ann = wsh_test_open(&test, NULL), *bob = wsh_test_open(&test, NULL);
    const WshTestEvent *event;
    CLAIM(saw("hoho"));

    CLAIM(wsh_test_text(ann, "rules") == WSH_OK);
    CLAIM(wsh_test_text(ann, "lie") == WSH_OK);
    CLAIM(host->send(kept_conn, WSH_TEXT, NULL, 0) == WSH_MISUSE);
    CLAIM(wsh_test_take(&test, NULL, WSH_TEST_SENT) == NULL);

    wsh_test_text(bob, "join");
    CLAIM(wsh_test_text(ann, "hi") == WSH_OK);
    CLAIM(wsh_test_got(ann, "hi!") && wsh_test_got(bob, "hi"));
    wsh_test_text(ann, "order");
    CLAIM(wsh_test_got(ann, "first") && wsh_test_got(ann, "second"));
    wsh_test_text(ann, "timer");
    wsh_test_advance(&test, 99);
    CLAIM(saw(""));
    wsh_test_advance(&test, 1);
    CLAIM(saw("t") && wsh_test_got(ann, "tick"));
    wsh_test_text(ann, "wake");
    wsh_test_text(ann, "note");
    CLAIM(saw("wn"));
    wsh_test_text(ann, "spawn");
    CLAIM(saw(""));
    wsh_test_run_spawned(&test);
    CLAIM(saw("b") && wsh_test_got(ann, "later"));
    wsh_test_text(ann, "log");
    while ((event = wsh_test_take(&test, ann, WSH_TEST_LOG)) != NULL) {
        /* A log line with the id 0 belongs to the running session. */
        CLAIM(wsh_equals(event->bytes, "a line a=b") ||
              wsh_equals(event->bytes, "takes none of the room"));
        CLAIM(event->code == WSH_LOG_INFO || event->code == WSH_LOG_DEBUG);
    }
    wsh_test_text(ann, "ping");
    CLAIM((event = wsh_test_take(&test, ann, WSH_TEST_PING)) && wsh_equals(event->bytes, "ping"));

    ann->is_stalled = 1;
    CLAIM(wsh_test_text(ann, "large") == WSH_OK && ann->conn.buffered > 600 * 1024);
    CLAIM(saw(""));
    ann->is_stalled = 0;
    wsh_test_turn(&test);
    CLAIM(saw("d"));
    CLAIM(wsh_test_text(ann, "begin") == WSH_OK && wsh_test_move(ann) == WSH_AGAIN);
    CLAIM(saw("") && wsh_test_text(ann, "finish") == WSH_OK);
    CLAIM(wsh_test_move(ann) == WSH_OK && (ann->conn.flags & WSH_RESTORED));
    CLAIM(saw("rD"));
    ann->is_stalled = 1;
    wsh_test_text(ann, "large");
    CLAIM(wsh_test_text(ann, "too large") == WSH_OK && wsh_test_got_close(ann, 1008));
    CLAIM(cause(ann) == WSH_CAUSE_LIMIT);
    CLAIM(saw("CD"));

    wsh_test_text(bob, "hold");
    CLAIM(wsh_test_text(bob, "hi") == WSH_AGAIN);
    return 0;
}

int main(void) {
    uint64_t first = 1;
    CLAIM(wsh_test_begin(&test, &WSH_HANDLER, "{}") == WSH_ERROR);
    CLAIM(wsh_test_begin(&test, &WSH_HANDLER, "{\"a\":1}") == WSH_OK);
    CLAIM(saw("S"));
    CLAIM(handshakes() == 0);
    CLAIM(closes() == 0);
    CLAIM(talks() == 0);
    CLAIM(host->spawn(host->ctx, in_background, &first) == WSH_OK);
    CLAIM(wsh_test_end(&test) == 0 && saw("CDsbX"));
    CLAIM(host->wake(host->ctx, 1) == WSH_GONE);
    return 0;
}
