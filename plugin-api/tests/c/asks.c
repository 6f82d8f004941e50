/* A handler that asks for what servers share, and its test by wsh_test.h. */
#include <wsh_test.h>

static const WshHost *host;

/* The last answer of each kind: tokens are below 32. */
static WshAnswer heard[32];
static WshBytes last_position, last_next;
static uint8_t position_bytes[64], next_bytes[255];
static char last_name[256], last_value[64];
static uint64_t by_handler;

static WshStr str(const char *text) { return wsh_str(text); }

static void hear(uint64_t token, const WshAnswer *answer) {
    heard[token] = *answer;
    if (answer->position.len) memcpy(position_bytes, answer->position.ptr, answer->position.len);
    last_position = wsh_bytes(position_bytes, answer->position.len);
    if (answer->next.len) memcpy(next_bytes, answer->next.ptr, answer->next.len);
    last_next = wsh_bytes(next_bytes, answer->next.len);
    if (answer->n_items) {
        const WshItem *item = wsh_item(answer, answer->n_items - 1);
        snprintf(last_name, sizeof last_name, "%.*s", (int)item->name.len,
                 item->name.len ? (const char *)item->name.ptr : "");
        snprintf(last_value, sizeof last_value, "%.*s", (int)item->value.len,
                 item->value.len ? (const char *)item->value.ptr : "");
    }
}

static WshStatus on_open(void *handler, WshConn *conn, const WshRequest *request, void *attempt,
                         void **session) {
    (void)handler, (void)request, (void)attempt;
    *session = conn;
    return WSH_OK;
}

static WshStatus on_message(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                            size_t len) {
    const WshBytes text = wsh_bytes(data, len), none = wsh_bytes(NULL, 0);
    const uint64_t id = conn->id;
    WshStatus status = WSH_OK;
    (void)session, (void)kind;
    if (wsh_equals(text, "join")) return host->subscribe_from(conn, 1, str("t"), none, 9);
    if (wsh_equals(text, "join again")) {
        return host->subscribe_from(conn, 1, str("t"), none, 9) == WSH_INVALID ? WSH_OK : WSH_ERROR;
    }
    if (wsh_equals(text, "rejoin")) {
        host->subscribe(conn, str("t"), 0);
        return host->subscribe_from(conn, 1, str("t"), last_position, 0);
    }
    if (wsh_equals(text, "join between")) {
        host->publish(host->ctx, str("t"), WSH_TEXT, (const uint8_t *)"before", 6, 0);
        host->subscribe_from(conn, 1, str("t"), none, 9);
        host->publish(host->ctx, str("t"), WSH_TEXT, (const uint8_t *)"behind", 6, 0);
        return WSH_OK;
    }
    if (wsh_equals(text, "enter")) return host->enter(conn, 2, str("t"), str("ann"));
    if (wsh_equals(text, "leave")) return host->leave(conn, str("t"));
    if (wsh_equals(text, "who")) return host->present(host->ctx, id, 3, str("t"), none, 9);
    if (wsh_equals(text, "past")) return host->history(host->ctx, id, 4, str("t"), none, 9);
    if (wsh_equals(text, "page")) return host->history(host->ctx, id, 4, str("t"), last_next, 1);
    if (wsh_equals(text, "put")) return host->store_put(host->ctx, id, 5, str("k"), str("v"), 0, 1000);
    if (wsh_equals(text, "get")) return host->store_get(host->ctx, id, 6, str("k"));
    if (wsh_equals(text, "delete")) return host->store_delete(host->ctx, id, 7, str("k"), WSH_ANY_VERSION);
    if (wsh_equals(text, "list")) return host->store_list(host->ctx, 0, 8, str("k"), none, 9);
    if (wsh_equals(text, "part")) {
        host->send(conn, WSH_TEXT | WSH_MORE, (const uint8_t *)"a", 1);
        return host->store_get(host->ctx, id, 9, str("k"));
    }
    if (wsh_equals(text, "wrong")) {
        status |= host->store_get(host->ctx, id, 6, str("")) != WSH_INVALID;
        status |= host->store_put(host->ctx, id, 6, wsh_bytes("a\0b", 3), none, 0, 0) != WSH_INVALID;
        status |= host->history(host->ctx, id, 6, str("t"), none, 0) != WSH_INVALID;
        status |= host->present(host->ctx, id, 6, str("t"), str("x"), 1) != WSH_INVALID;
        status |= host->store_get(host->ctx, 999, 6, str("k")) != WSH_GONE;
        status |= host->enter(NULL, 6, str("t"), none) != WSH_MISUSE;
        return status ? WSH_ERROR : WSH_OK;
    }
    return host->publish_acked(host->ctx, id, 10, str("t"), WSH_TEXT, data, len, 0);
}

static WshStatus on_answer(void *session, WshConn *conn, uint64_t token, const WshAnswer *answer) {
    (void)session;
    hear(token, answer);
    if (token == 9) host->send(conn, WSH_TEXT, (const uint8_t *)"z", 1);
    return WSH_OK;
}

static void on_answered(void *handler, uint64_t token, const WshAnswer *answer) {
    (void)handler;
    by_handler = token;
    hear(token, answer);
}

static WshStatus on_envelope(void *handler, WshStr topic, WshBytes position, uint32_t kind,
                             const uint8_t *data, size_t len, const WshSink *sink) {
    (void)handler;
    if (!wsh_equals(topic, "t") || !position.len || kind != WSH_TEXT) return WSH_ERROR;
    sink->write(sink->ctx, (const uint8_t *)"form of ", 8);
    return sink->write(sink->ctx, data, len);
}

static WshStatus on_presence(void *handler, const WshPresenceChange *change, uint32_t *kind,
                             const WshSink *sink) {
    char line[64];
    int len = snprintf(line, sizeof line, "%u %u", (unsigned)change->kind, (unsigned)change->version);
    (void)handler, (void)kind;
    return sink->write(sink->ctx, (const uint8_t *)line, (size_t)len);
}

static void on_destroy(void *session) { (void)session; }
static void on_shutdown(void *handler) { (void)handler; }

static WshVtable vtable;

static WshStatus init(const WshHost *from, const WshInit *about, WshInstance *instance) {
    (void)about;
    host = from;
    vtable.size = (uint32_t)sizeof vtable;
    vtable.open = on_open;
    vtable.message = on_message;
    vtable.answer = on_answer;
    vtable.answered = on_answered;
    vtable.envelope = on_envelope;
    vtable.presence = on_presence;
    vtable.destroy = on_destroy;
    vtable.shutdown = on_shutdown;
    instance->vtable = &vtable;
    return WSH_OK;
}

WSH_DEFINE("asks", "1.0", init);

static WshTest test;

#define CHECK(claim)                                                                               \
    if (!(claim)) {                                                                                \
        fprintf(stderr, "line %d: %s\n", __LINE__, #claim);                                        \
        return 1;                                                                                  \
    }

int main(void) {
    WshTestSession *ann, *ben;
    uint64_t version;
    CHECK(wsh_test_begin(&test, &WSH_HANDLER, "{}") == WSH_OK);
    ann = wsh_test_open(&test, NULL);
    ben = wsh_test_open(&test, NULL);

    /* What was missed, and then what is new: nothing twice. */
    CHECK(wsh_test_text(ann, "join between") == WSH_OK && heard[1].follows == 1);
    CHECK(wsh_test_got(ann, "form of before") && wsh_test_got(ann, "form of behind"));
    CHECK(wsh_test_text(ann, "join again") == WSH_OK);
    CHECK(wsh_test_text(ann, "one") == WSH_OK && heard[10].position.len > 0);
    CHECK(wsh_test_got(ann, "form of one"));
    CHECK(wsh_test_text(ben, "two") == WSH_OK && wsh_test_got(ann, "form of two"));
    CHECK(wsh_test_text(ben, "three") == WSH_OK && wsh_test_got(ann, "form of three"));
    CHECK(wsh_test_text(ann, "past") == WSH_OK && heard[4].n_items == 5);
    CHECK(heard[4].flags == WSH_RECOVERED && strcmp(last_value, "three") == 0);

    /* Behind a position: all of it or nothing. */
    CHECK(wsh_test_text(ben, "two") == WSH_OK && wsh_test_got(ann, "form of two"));
    CHECK(wsh_test_text(ben, "rejoin") == WSH_OK && heard[1].flags == WSH_RECOVERED);
    CHECK(heard[1].follows == 0);
    while (test.published < WSH_TEST_HISTORY_MAX + 20) wsh_test_text(ann, "more");
    memset(position_bytes + 8, 0, 8);
    last_position.len = 16;
    CHECK(wsh_test_text(ben, "rejoin") == WSH_OK && heard[1].flags == 0 && heard[1].follows == 0);

    /* Members, and what the handler tells of them. */
    while (wsh_test_take(&test, ann, WSH_TEST_SENT)) {
    }
    CHECK(wsh_test_text(ann, "enter") == WSH_OK && wsh_test_got(ann, "1 1"));
    CHECK(wsh_test_text(ann, "enter") == WSH_OK && heard[2].version == 1);
    CHECK(wsh_test_text(ben, "enter") == WSH_OK && wsh_test_got(ann, "1 2"));
    CHECK(wsh_test_text(ann, "who") == WSH_OK && heard[3].n_items == 2 && heard[3].version == 2);
    wsh_test_peer_leaves(ben);
    CHECK(wsh_test_got(ann, "2 3"));
    CHECK(wsh_test_text(ann, "leave") == WSH_OK && wsh_test_got(ann, "2 4"));
    CHECK(wsh_test_text(ann, "who") == WSH_OK && heard[3].n_items == 0);

    /* Values. */
    CHECK(wsh_test_text(ann, "put") == WSH_OK && heard[5].status == WSH_OK);
    version = heard[5].version;
    CHECK(wsh_test_text(ann, "put") == WSH_OK && heard[5].status == WSH_CONFLICT);
    CHECK(heard[5].version == version);
    CHECK(wsh_test_text(ann, "list") == WSH_OK && by_handler == 8 && heard[8].n_items == 1);
    CHECK(strcmp(last_name, "k") == 0);
    wsh_test_advance(&test, 999);
    CHECK(wsh_test_text(ann, "get") == WSH_OK && heard[6].n_items == 1);
    wsh_test_advance(&test, 1);
    CHECK(wsh_test_text(ann, "get") == WSH_OK && heard[6].n_items == 0 && heard[6].version == 0);
    CHECK(wsh_test_text(ann, "delete") == WSH_OK && heard[7].version > version);

    /* An answer does not wait for the rest of a message. */
    CHECK(wsh_test_text(ann, "part") == WSH_OK && wsh_test_got(ann, "a") && wsh_test_got(ann, "z"));

    CHECK(wsh_test_text(ann, "wrong") == WSH_OK);
    test.is_away = 1;
    CHECK(wsh_test_text(ann, "get") == WSH_OK && heard[6].status == WSH_UNAVAILABLE);
    return wsh_test_end(&test);
}
