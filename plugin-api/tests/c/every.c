/* Calls every function of the host, has every callback, and reports the answers. */
#include <stdio.h>
#include <stdlib.h>
#include <wsh.h>

static const WshHost *host;
static uint64_t own_id;

/* A session counts its events. */
typedef struct Session {
    uint32_t seen;
} Session;

static void say(WshConn *conn, const char *what, long long answer) {
    char line[128];
    int len = snprintf(line, sizeof line, "%s %lld", what, answer);
    host->send(conn, WSH_TEXT | WSH_TRUSTED_UTF8, (const uint8_t *)line, (size_t)len);
}

static void on_thread(void *arg) {
    host->send_to(host->ctx, own_id, WSH_TEXT, (const uint8_t *)arg, strlen((char *)arg));
    free(arg);
}

static WshStatus on_handshake(void *handler, const WshRequest *request, WshResponse *response,
                              void **attempt) {
    const WshPair *token = wsh_find_header(request->headers, request->n_headers, "X-TOKEN");
    if (handler != &host || !WSH_HAS(request, tls_client_cert)) return WSH_ERROR;
    if (wsh_equals(request->path, "/no")) {
        host->response_header(response, wsh_str("X-Why"), wsh_bytes("because", 7));
        host->response_reject(response, 418, wsh_str("no"));
        return WSH_REJECT;
    }
    if (host->response_reject(response, 200, wsh_str("")) != WSH_INVALID) return WSH_ERROR;
    if (host->response_extensions(response, 0) != WSH_OK) return WSH_ERROR;
    if (request->n_protocols > 0) host->response_protocol(response, request->protocols[0]);
    if (token) host->response_header(response, wsh_str("X-Token"), token->value);
    if (wsh_equals(request->query, "left")) {
        *attempt = malloc(1);
    }
    return WSH_OK;
}

static void on_abandon(void *handler, void *attempt) {
    (void)handler;
    wsh_log(host, WSH_LOG_INFO, "abandoned");
    free(attempt);
}

static WshStatus on_open(void *handler, WshConn *conn, const WshRequest *request, void *attempt,
                         void **session) {
    Session *made;
    free(attempt);
    if (handler != &host || conn->id != request->id) return WSH_ERROR;
    if (wsh_equals(request->path, "/full")) return host->fail(host->ctx, wsh_str("no room"));
    made = (Session *)calloc(1, sizeof *made);
    own_id = conn->id;
    *session = made;
    say(conn, attempt ? "open with attempt" : "open", (long long)conn->protocol.len);
    return made ? WSH_OK : WSH_ERROR;
}

static WshStatus try_everything(WshConn *conn) {
    static const uint8_t bytes[] = {0xff, 0};
    static const char *const topic = "t";
    WshPair field;
    char *sent = (char *)malloc(16);
    uint8_t *room;
    say(conn, "check", host->check(conn));
    say(conn, "check nothing", host->check(NULL));
    say(conn, "send", host->send(conn, WSH_BINARY, bytes, sizeof bytes));
    say(conn, "send nowhere", host->send((WshConn *)&field, WSH_BINARY, bytes, sizeof bytes));
    say(conn, "send an opcode", host->send(conn, 8, bytes, 0));
    say(conn, "send a bit", host->send(conn, WSH_BINARY | 1u << 31, bytes, 0));
    say(conn, "send not text", host->send(conn, WSH_TEXT, bytes, sizeof bytes));
    host->send(conn, WSH_TEXT | WSH_MORE, (const uint8_t *)"in ", 3);
    host->send(conn, WSH_TEXT, (const uint8_t *)"parts", 5);
    room = host->reserve(conn, 8);
    if (!room) return WSH_ERROR;
    memcpy(room, "room", 4);
    say(conn, "commit", host->commit(conn, WSH_TEXT, 9));
    room = host->reserve(conn, 8);
    if (!room) return WSH_ERROR;
    memcpy(room, "room", 4);
    host->commit(conn, WSH_TEXT, 4);
    room = host->reserve(conn, 8);
    host->ping(conn, bytes, 0);
    say(conn, "commit too late", host->commit(conn, WSH_BINARY, 0));
    say(conn, "ping", host->ping(conn, bytes, sizeof bytes));
    say(conn, "close", host->close(conn, 1006, wsh_str("")));
    say(conn, "close wide", host->close(conn, 65536 + 1000, wsh_str("")));
    say(conn, "timer", host->timer(conn, 7, 1000));
    say(conn, "reads", host->reads(conn, 1));
    say(conn, "reads 2", host->reads(conn, 2));
    say(conn, "watermark", host->watermark(conn, 2, 1));
    say(conn, "subscribe", host->subscribe(conn, wsh_str(topic), 1));
    say(conn, "subscribe 2", host->subscribe(conn, wsh_str(topic), 2));
    say(conn, "subscribe to NUL", host->subscribe(conn, wsh_bytes("a\0b", 3), 1));
    say(conn, "publish", host->publish(host->ctx, wsh_str(topic), WSH_TEXT, bytes, 0, conn->id));
    say(conn, "publish", host->publish(host->ctx, wsh_str(topic), WSH_TEXT, bytes, 0, 0));
    say(conn, "send_to", host->send_to(host->ctx, conn->id, WSH_BINARY, bytes, 0));
    say(conn, "send_to nobody", host->send_to(host->ctx, 999, WSH_BINARY, bytes, 0));
    say(conn, "close_to nobody", host->close_to(host->ctx, 999, 1000, wsh_str("")));
    say(conn, "wake", host->wake(host->ctx, conn->id));
    say(conn, "notify", host->notify(host->ctx, conn->id, UINT64_C(1) << 63));
    say(conn, "notify nobody", host->notify(host->ctx, 999, 1));
    say(conn, "wake_after", host->wake_after(host->ctx, conn->id, 500));
    say(conn, "wake_after nobody", host->wake_after(host->ctx, 0, 500));
    say(conn, "extension", host->extension(host->ctx, wsh_str("wsh.none/1")) != NULL);
    field.name = wsh_str("name");
    field.value = wsh_str("value");
    host->log(host->ctx, conn->id, WSH_LOG_WARN, wsh_str("target"), wsh_str("line"), &field, 1);
    strcpy(sent, "by thread");
    say(conn, "spawn", host->spawn(host->ctx, on_thread, sent));
    return WSH_OK;
}

/* Asks everything that can be asked, for the session and for the handler itself. */
static WshStatus ask_everything(WshConn *conn) {
    const WshBytes none = wsh_bytes(NULL, 0);
    const WshStr topic = wsh_str("kept"), key = wsh_str("key");
    const uint64_t id = conn->id;
    say(conn, "subscribe_from", host->subscribe_from(conn, 1, topic, none, 5));
    say(conn, "subscribe_from again", host->subscribe_from(conn, 1, topic, none, 5));
    say(conn, "enter", host->enter(conn, 2, topic, wsh_str("ann")));
    say(conn, "publish_acked", host->publish_acked(host->ctx, id, 3, topic, WSH_TEXT, (const uint8_t *)"hi", 2, 0));
    say(conn, "history", host->history(host->ctx, id, 4, topic, none, 5));
    say(conn, "history of nothing", host->history(host->ctx, id, 4, topic, none, 0));
    say(conn, "history of others", host->history(host->ctx, id, 4, wsh_str("t"), none, 5));
    say(conn, "present", host->present(host->ctx, id, 5, topic, none, 5));
    say(conn, "store_put", host->store_put(host->ctx, id, 6, key, wsh_str("value"), 0, 1000));
    say(conn, "store_put again", host->store_put(host->ctx, id, 7, key, wsh_str("value"), 0, 0));
    say(conn, "store_get", host->store_get(host->ctx, id, 8, key));
    say(conn, "store_list", host->store_list(host->ctx, 0, 9, wsh_str("k"), none, 5));
    say(conn, "store_delete", host->store_delete(host->ctx, id, 10, key, WSH_ANY_VERSION));
    say(conn, "leave", host->leave(conn, topic));
    return WSH_OK;
}

/* Writes what an answer says. */
static int describe(char *line, size_t size, uint64_t token, const WshAnswer *answer) {
    const WshItem *item = answer->n_items ? wsh_item(answer, answer->n_items - 1) : NULL;
    return snprintf(line, size, "answer %u: %d, flags %u, version %u, %u items, position %u, last %.*s%.*s",
                    (unsigned)token, (int)answer->status, (unsigned)answer->flags,
                    (unsigned)answer->version, (unsigned)answer->n_items,
                    (unsigned)(answer->position.len > 0), item ? (int)item->name.len : 0,
                    item ? (const char *)item->name.ptr : "", item ? (int)item->value.len : 0,
                    item ? (const char *)item->value.ptr : "");
}

static WshStatus on_answer(void *session, WshConn *conn, uint64_t token, const WshAnswer *answer) {
    char line[160];
    int len = describe(line, sizeof line, token, answer);
    (void)session;
    host->send(conn, WSH_TEXT, (const uint8_t *)line, (size_t)len);
    return WSH_OK;
}

static void on_answered(void *handler, uint64_t token, const WshAnswer *answer) {
    char line[160];
    describe(line, sizeof line, token, answer);
    if (handler == &host) wsh_log(host, WSH_LOG_INFO, line);
}

static WshStatus on_envelope(void *handler, WshStr topic, WshBytes position, uint32_t kind,
                             const uint8_t *data, size_t len, const WshSink *sink) {
    if (handler != &host || !wsh_equals(topic, "kept") || !position.len || kind != WSH_TEXT) return WSH_DONE;
    sink->write(sink->ctx, (const uint8_t *)"form of ", 8);
    return sink->write(sink->ctx, data, len);
}

static WshStatus on_presence(void *handler, const WshPresenceChange *change, uint32_t *kind,
                             const WshSink *sink) {
    char line[64];
    int len = snprintf(line, sizeof line, "%u %u %.*s", (unsigned)change->kind, (unsigned)change->version,
                       (int)change->value.len, (const char *)change->value.ptr);
    if (handler != &host || !change->id || !wsh_equals(change->topic, "kept")) return WSH_DONE;
    *kind = change->kind == WSH_LEFT ? WSH_BINARY : WSH_TEXT;
    return sink->write(sink->ctx, (const uint8_t *)line, (size_t)len);
}

static WshStatus on_message(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                            size_t len) {
    WshBytes message = wsh_bytes(data, len);
    if (kind == WSH_BINARY) {
        host->watermark(conn, 0, 99);
        host->send(conn, kind, data, len);
        return WSH_OK;
    }
    if (wsh_equals(message, "everything")) return try_everything(conn);
    if (wsh_equals(message, "asks")) return ask_everything(conn);
    if (wsh_equals(message, "done")) return WSH_DONE;
    if (wsh_equals(message, "abort")) return host->abort(conn);
    say(conn, "seen", ++((Session *)session)->seen);
    return WSH_OK;
}

static WshStatus on_ping(void *session, WshConn *conn, const uint8_t *data, size_t len) {
    (void)session;
    say(conn, "on ping", len ? data[0] : 0);
    return WSH_OK;
}

static WshStatus on_pong(void *session, WshConn *conn, const uint8_t *data, size_t len) {
    (void)session;
    say(conn, "on pong", len ? data[0] : 0);
    return WSH_OK;
}

static WshStatus on_drain(void *session, WshConn *conn) {
    (void)session;
    say(conn, "on drain", (long long)conn->buffered);
    return WSH_OK;
}

static WshStatus on_timer(void *session, WshConn *conn, uint64_t token) {
    (void)session;
    say(conn, "on timer", (long long)token);
    return WSH_OK;
}

static WshStatus on_wake(void *session, WshConn *conn) {
    (void)session;
    say(conn, conn->flags & WSH_RESTORED ? "on wake, restored" : "on wake", 0);
    return WSH_OK;
}

static WshStatus on_note(void *session, WshConn *conn, uint64_t note) {
    (void)session;
    say(conn, "on note", (long long)(note >> 60));
    return WSH_OK;
}

static WshStatus on_closing(void *session, WshConn *conn, uint32_t code, WshStr reason) {
    (void)session;
    say(conn, "on closing", code);
    return wsh_equals(reason, "why") ? host->close(conn, 3001, wsh_str("because")) : WSH_OK;
}

static WshStatus on_closed(void *session, WshConn *conn, uint32_t code, WshStr reason) {
    char line[64];
    (void)session, (void)reason;
    snprintf(line, sizeof line, "closed %u, then %d", (unsigned)code,
             (int)host->send(conn, WSH_TEXT, NULL, 0));
    wsh_log(host, WSH_LOG_INFO, line);
    return WSH_OK;
}

static WshStatus on_snapshot(void *session, WshConn *conn, const WshSink *sink) {
    (void)conn;
    return sink->write(sink->ctx, (const uint8_t *)session, sizeof(Session));
}

static WshStatus on_restore(void *handler, WshConn *conn, uint32_t schema, const uint8_t *state,
                            size_t len, void **session) {
    Session *made;
    (void)handler;
    if (schema != 2 || len != sizeof(Session)) return WSH_ERROR;
    if (host->send(conn, WSH_TEXT, NULL, 0) != WSH_MISUSE) return WSH_ERROR;
    made = (Session *)malloc(sizeof *made);
    if (!made) return WSH_ERROR;
    memcpy(made, state, len);
    *session = made;
    return WSH_OK;
}

static WshStatus self_test(void *handler) { return handler == &host ? WSH_OK : WSH_ERROR; }

static void serving(void *handler, uint32_t on) {
    (void)handler;
    wsh_log(host, WSH_LOG_INFO, on ? "serving" : "superseded");
}

static void on_shutdown(void *handler) {
    (void)handler;
    wsh_log(host, WSH_LOG_INFO, "shutdown");
}

static const void *extension(void *handler, WshStr id) {
    (void)handler, (void)id;
    return NULL;
}

static const WshVtable vtable = {
    sizeof(WshVtable), 0,          on_handshake, on_abandon, on_open,     on_message, on_ping,
    on_pong,           on_drain,   on_timer,     on_wake,    on_note,     on_closing, on_closed,
    free,              on_snapshot, on_restore,  self_test,  serving,     on_shutdown, extension,
    on_answer,         on_answered, on_envelope, on_presence};

static WshStatus init(const WshHost *from, const WshInit *about, WshInstance *instance) {
    host = from;
    if (about->config_json.len == 0 || about->generation == 0) return WSH_INVALID;
    instance->handler = &host;
    instance->vtable = &vtable;
    return WSH_OK;
}

WSH_DEFINE_WITH("every", "2.1", init, WSH_MIGRATES, 2, 1);
