/*
 * wsh_test_host.h: the functions of WshHost for tests. wsh_test.h includes it. Names that end in `_`
 * are not for tests.
 */
#ifndef WSH_TEST_HOST_H
#define WSH_TEST_HOST_H

#include "wsh_test.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__cplusplus) && __cplusplus >= 201103L
#define WSH_TEST_THREAD_ thread_local
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define WSH_TEST_THREAD_ _Thread_local
#elif defined(__GNUC__)
#define WSH_TEST_THREAD_ __thread
#else
#define WSH_TEST_THREAD_
#endif

/* What a letter is, beside a WshTestWhat. Those to id 0 are for the handler itself. */
#define WSH_TEST_NOTE_ 255u
#define WSH_TEST_ANSWER_ 254u
#define WSH_TEST_MISSED_ 253u    /* a publication of the history, to one session */
#define WSH_TEST_PUBLISHED_ 252u /* a publication that waits for `envelope`, to id 0 */
#define WSH_TEST_CHANGE_ 251u    /* of members, to id 0 */
/* The longest message that can be sent, unless the outbound limit is higher. */
#define WSH_TEST_MESSAGE_BYTES_MAX_ (1024u * 1024u * 1024u)

/* The running test, and the session of the callback on this thread. */
static WshTest *wsh_test_running_ = NULL;
static WSH_TEST_THREAD_ WshTestSession *wsh_test_lent_ = NULL;
/* The answer to calls with the Conn. If it is WSH_OK, they are done. */
static WSH_TEST_THREAD_ WshStatus wsh_test_verdict_ = WSH_OK;
static WSH_TEST_THREAD_ WshTestSession *wsh_test_asked_ = NULL;
/* The sink of the `snapshot` that runs on this thread. */
static WSH_TEST_THREAD_ WshBytes *wsh_test_sink_ = NULL;

static inline void wsh_test_lock_(WshTest *test) {
#if defined(__GNUC__)
    while (__atomic_test_and_set(&test->lock, __ATOMIC_ACQUIRE)) {
    }
#else
    (void)test;
#endif
}

static inline void wsh_test_unlock_(WshTest *test) {
#if defined(__GNUC__)
    __atomic_clear(&test->lock, __ATOMIC_RELEASE);
#else
    (void)test;
#endif
}

static inline void wsh_test_full_(const char *what, const char *macro) {
    fprintf(stderr, "wsh_test.h: more %s than fit; define a larger %s\n", what, macro);
    abort();
}

static inline WshStatus wsh_test_lent_bytes_(WshBytes bytes) {
    if (bytes.len > 0 && bytes.ptr == NULL) return WSH_INVALID;
    return bytes.len > SIZE_MAX / 2 ? WSH_TOO_BIG : WSH_OK;
}

/* Whether bytes are UTF-8 (RFC 3629). */
static inline int wsh_test_is_utf8_(WshBytes bytes) {
    size_t i = 0;
    while (i < bytes.len) {
        const uint8_t first = bytes.ptr[i++];
        uint8_t least = 0x80, most = 0xbf;
        int more;
        if (first < 0x80) continue;
        if (first < 0xc2 || first > 0xf4) return 0;
        more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if (first == 0xe0) least = 0xa0;
        if (first == 0xed) most = 0x9f;
        if (first == 0xf0) least = 0x90;
        if (first == 0xf4) most = 0x8f;
        for (; more > 0; more--) {
            if (i == bytes.len || bytes.ptr[i] < least || bytes.ptr[i] > most) return 0;
            least = 0x80;
            most = 0xbf;
            i++;
        }
    }
    return 1;
}

static inline WshStatus wsh_test_lent_text_(WshBytes text) {
    const WshStatus status = wsh_test_lent_bytes_(text);
    return status == WSH_OK && !wsh_test_is_utf8_(text) ? WSH_INVALID : status;
}

static inline uint8_t *wsh_test_room_(WshTest *test, size_t len) {
    uint8_t *room = test->bytes + test->n_bytes;
    if (len > WSH_TEST_BYTES_MAX - test->n_bytes) wsh_test_full_("bytes", "WSH_TEST_BYTES_MAX");
    test->n_bytes += len;
    return room;
}

static inline WshBytes wsh_test_keep_(WshTest *test, WshBytes bytes) {
    uint8_t *room = wsh_test_room_(test, bytes.len);
    if (bytes.len > 0) memcpy(room, bytes.ptr, bytes.len);
    return wsh_bytes(room, bytes.len);
}

static inline WshTestEvent *wsh_test_record_(WshTest *test, WshTestWhat what, uint64_t id) {
    WshTestEvent *event;
    if (test->n_events == WSH_TEST_EVENTS_MAX) wsh_test_full_("events", "WSH_TEST_EVENTS_MAX");
    event = &test->events[test->n_events++];
    memset(event, 0, sizeof *event);
    event->what = what;
    event->id = id;
    return event;
}

/* The length of a server's frame (RFC 6455, 5.2). */
static inline uint64_t wsh_test_frame_(size_t len) {
    return (uint64_t)len + (len < 126 ? 2u : len < 65536 ? 4u : 10u);
}

static inline int wsh_test_is_talking_(const WshTestSession *client) {
    return client->phase == WSH_TEST_OPEN || client->phase == WSH_TEST_PEER_CLOSES;
}

/* Whether the handler may still send. */
static inline WshStatus wsh_test_still_open_(const WshTestSession *client) {
    return wsh_test_is_talking_(client) ? WSH_OK : WSH_GONE;
}

static inline void wsh_test_forget_reserved_(WshTestSession *client) {
    WshTest *test = client->test;
    if (client->reserved == NULL) return;
    if (client->reserved + client->n_reserved == test->bytes + test->n_bytes) {
        test->n_bytes -= client->n_reserved;
    }
    client->reserved = NULL;
    client->n_reserved = 0;
}

/* The session of the running callback, if `conn` is its Conn. NULL, with the reason, if it is not, or if
 * the session is over. */
static inline WshTestSession *wsh_test_of_(const WshConn *conn, WshStatus *why) {
    WshTestSession *client = wsh_test_lent_;
    if (client == NULL || conn != &client->conn) {
        *why = WSH_MISUSE;
        return NULL;
    }
    *why = wsh_test_verdict_;
    return wsh_test_verdict_ == WSH_OK ? client : NULL;
}

static inline void wsh_test_add_(WshTestSession *client, uint64_t len) {
    client->conn.buffered += len;
    if (client->conn.buffered > client->high) client->is_above = 1;
}

/* Notes a cause of the session's end. The first one counts. */
static inline void wsh_test_blame_(WshTestSession *client, uint32_t cause) {
    if (client->cause == 0) client->cause = cause;
}

/* Puts the cause of the session's end into its Conn: `cause`, unless another one was noted before. */
static inline void wsh_test_say_cause_(WshTestSession *client, uint32_t cause) {
    wsh_test_blame_(client, cause);
    client->conn.flags = (client->conn.flags & ~WSH_CAUSE) | client->cause;
}

static inline WshStatus wsh_test_put_close_(WshTestSession *client, uint32_t code,
                                            WshBytes reason) {
    WshTestEvent *event;
    if (wsh_test_still_open_(client) != WSH_OK) return WSH_GONE;
    event = wsh_test_record_(client->test, WSH_TEST_CLOSE, client->conn.id);
    event->code = code ? code : 1005u;
    event->bytes = wsh_test_keep_(client->test, reason);
    if (client->phase == WSH_TEST_OPEN) client->peer_code = event->code;
    client->phase = WSH_TEST_CLOSED;
    client->conn.flags |= WSH_CLOSING;
    wsh_test_blame_(client, WSH_CAUSE_HANDLER);
    client->refuses_letters = 1;
    client->n_timers = 0;
    return WSH_OK;
}

static inline WshStatus wsh_test_kind_(uint32_t kind, WshBytes bytes) {
    const uint32_t opcode = kind & 0xffu;
    const uint32_t known = 0xffu | WSH_MORE | WSH_NO_COMPRESS | WSH_TRUSTED_UTF8 | WSH_IF_ROOM;
    if (bytes.len > WSH_TEST_MESSAGE_BYTES_MAX_) return WSH_TOO_BIG;
    if (opcode != WSH_TEXT && opcode != WSH_BINARY) return WSH_INVALID;
    if (kind & ~known) return WSH_UNSUPPORTED;
    /* Checked even if the sender vouches for it: a test should find a false promise. */
    return opcode == WSH_TEXT && !wsh_test_is_utf8_(bytes) ? WSH_INVALID : WSH_OK;
}

/* Checks the kind of a message by id: it is whole, and IF_ROOM is not allowed. */
static inline WshStatus wsh_test_kind_by_id_(uint32_t kind, WshBytes bytes) {
    const WshStatus status = wsh_test_kind_(kind, bytes);
    if (status != WSH_OK) return status;
    if (kind & WSH_IF_ROOM) return WSH_UNSUPPORTED;
    return kind & WSH_MORE ? WSH_INVALID : WSH_OK;
}

/* `is_kept`: the bytes are in the test's memory already. */
static inline int64_t wsh_test_put_(WshTestSession *client, uint32_t kind, WshBytes bytes,
                                    int is_kept) {
    const uint64_t len = wsh_test_frame_(bytes.len);
    WshTestEvent *event;
    WshStatus status = wsh_test_still_open_(client);
    if (status == WSH_OK) status = wsh_test_kind_(kind, bytes);
    if (status != WSH_OK) return status;
    if (client->parts && client->parts != (kind & 0xffu)) return WSH_INVALID;
    if (!client->is_stalled && client->conn.buffered + len > WSH_TEST_OUTBOUND_BYTES_MAX) {
        client->conn.buffered = 0;
    }
    /* A queue that is at most half full takes one message of any length. */
    if (client->conn.buffered > WSH_TEST_OUTBOUND_BYTES_MAX / 2 &&
        client->conn.buffered + len > WSH_TEST_OUTBOUND_BYTES_MAX) {
        if (kind & WSH_IF_ROOM) return WSH_FULL;
        wsh_test_blame_(client, WSH_CAUSE_LIMIT);
        wsh_test_put_close_(client, 1008, wsh_str(""));
        return WSH_TOO_BIG;
    }
    event = wsh_test_record_(client->test, WSH_TEST_SENT, client->conn.id);
    event->code = kind;
    event->bytes = is_kept ? bytes : wsh_test_keep_(client->test, bytes);
    client->parts = kind & WSH_MORE ? kind & 0xffu : 0;
    wsh_test_add_(client, len);
    return (int64_t)client->conn.buffered;
}

/* Evaluates the expression `call` for the session of a Conn, and sets `answer`. */
#define WSH_TEST_ON_CONN_(conn, answer, call)                                                      \
    do {                                                                                           \
        WshStatus why_;                                                                            \
        WshTestSession *client = wsh_test_of_(conn, &why_);                                        \
        answer = why_;                                                                             \
        if (client != NULL) {                                                                      \
            wsh_test_lock_(client->test);                                                          \
            wsh_test_forget_reserved_(client);                                                     \
            answer = (call);                                                                       \
            wsh_test_unlock_(client->test);                                                        \
        }                                                                                          \
    } while (0)

static inline WshStatus WSH_CALL wsh_test_host_check_(const WshConn *conn) {
    return wsh_test_lent_ != NULL && conn == &wsh_test_lent_->conn ? WSH_OK : WSH_MISUSE;
}

static inline int64_t WSH_CALL wsh_test_host_send_(WshConn *conn, uint32_t kind,
                                                   const uint8_t *data, size_t len) {
    const WshBytes bytes = wsh_bytes(data, len);
    const WshStatus lent = wsh_test_lent_bytes_(bytes);
    int64_t answer;
    WSH_TEST_ON_CONN_(conn, answer, lent ? lent : wsh_test_put_(client, kind, bytes, 0));
    return answer;
}

static inline uint8_t *wsh_test_reserve_(WshTestSession *client, size_t max) {
    if (wsh_test_still_open_(client) != WSH_OK || max > WSH_TEST_MESSAGE_BYTES_MAX_) return NULL;
    client->reserved = wsh_test_room_(client->test, max);
    client->n_reserved = max;
    return client->reserved;
}

static inline uint8_t *WSH_CALL wsh_test_host_reserve_(WshConn *conn, size_t max) {
    uint8_t *room = NULL;
    WshStatus status;
    WSH_TEST_ON_CONN_(conn, status, ((void)(room = wsh_test_reserve_(client, max)), WSH_OK));
    return status == WSH_OK ? room : NULL;
}

static inline int64_t WSH_CALL wsh_test_host_commit_(WshConn *conn, uint32_t kind, size_t len) {
    WshStatus status;
    WshTestSession *client = wsh_test_of_(conn, &status);
    uint8_t *room;
    int64_t answer = WSH_INVALID;
    if (client == NULL) return status;
    wsh_test_lock_(client->test);
    room = client->reserved;
    if (wsh_test_still_open_(client) != WSH_OK) {
        answer = WSH_GONE;
    } else if (room != NULL && len <= client->n_reserved) {
        /* The reserved bytes stay where they are, and become the event's payload. */
        if (room + client->n_reserved == client->test->bytes + client->test->n_bytes) {
            client->test->n_bytes -= client->n_reserved - len;
        }
        client->reserved = NULL;
        answer = wsh_test_put_(client, kind, wsh_bytes(room, len), 1);
    }
    wsh_test_forget_reserved_(client);
    wsh_test_unlock_(client->test);
    return answer;
}

static inline WshStatus wsh_test_put_ping_(WshTestSession *client, WshBytes bytes) {
    if (bytes.len > 125) return WSH_TOO_BIG;
    if (wsh_test_still_open_(client) != WSH_OK) return WSH_GONE;
    wsh_test_record_(client->test, WSH_TEST_PING, client->conn.id)->bytes =
        wsh_test_keep_(client->test, bytes);
    wsh_test_add_(client, wsh_test_frame_(bytes.len));
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_ping_(WshConn *conn, const uint8_t *data,
                                                     size_t len) {
    const WshBytes bytes = wsh_bytes(data, len);
    const WshStatus lent = wsh_test_lent_bytes_(bytes);
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, lent ? lent : wsh_test_put_ping_(client, bytes));
    return answer;
}

static inline WshStatus wsh_test_may_close_(uint32_t code, WshBytes reason) {
    const WshStatus lent = wsh_test_lent_text_(reason);
    const int is_code = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                        (code >= 3000 && code <= 4999);
    if (lent != WSH_OK) return lent;
    if (!is_code && !(code == 0 && reason.len == 0)) return WSH_INVALID;
    return reason.len > 123 ? WSH_TOO_BIG : WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_close_(WshConn *conn, uint32_t code,
                                                      WshBytes reason) {
    const WshStatus may = wsh_test_may_close_(code, reason);
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, may ? may : wsh_test_put_close_(client, code, reason));
    return answer;
}

static inline WshStatus wsh_test_put_abort_(WshTestSession *client) {
    if (client->phase == WSH_TEST_ABORTED) return WSH_GONE;
    wsh_test_record_(client->test, WSH_TEST_ABORT, client->conn.id);
    client->phase = WSH_TEST_ABORTED;
    client->peer_code = 1006;
    client->conn.flags |= WSH_CLOSING;
    wsh_test_blame_(client, WSH_CAUSE_HANDLER);
    client->refuses_letters = 1;
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_abort_(WshConn *conn) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, wsh_test_put_abort_(client));
    return answer;
}

static inline WshStatus wsh_test_set_timer_(WshTestSession *client, uint64_t token, uint64_t ms) {
    WshTestTimer *timers = client->timers;
    const uint64_t now = client->test->now;
    WshTestEvent *event;
    size_t i;
    if (wsh_test_still_open_(client) != WSH_OK) return WSH_GONE;
    for (i = 0; i < client->n_timers && timers[i].token != token; i++) {
    }
    if (i < client->n_timers) {
        client->n_timers--;
        memmove(&timers[i], &timers[i + 1], (client->n_timers - i) * sizeof timers[0]);
    }
    if (ms != UINT64_MAX) {
        if (client->n_timers == WSH_TEST_TIMERS_MAX) return WSH_TOO_BIG;
        timers[client->n_timers].token = token;
        timers[client->n_timers++].at = ms > UINT64_MAX - now ? UINT64_MAX : now + ms;
    }
    event = wsh_test_record_(client->test, WSH_TEST_TIMER, client->conn.id);
    event->number = token;
    event->other = ms;
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_timer_(WshConn *conn, uint64_t token, uint64_t ms) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, wsh_test_set_timer_(client, token, ms));
    return answer;
}

static inline WshStatus wsh_test_set_reads_(WshTestSession *client, uint32_t on) {
    if (on > 1) return WSH_INVALID;
    client->reads = (int)on;
    wsh_test_record_(client->test, WSH_TEST_READS, client->conn.id)->code = on;
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_reads_(WshConn *conn, uint32_t on) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, wsh_test_set_reads_(client, on));
    return answer;
}

static inline WshStatus wsh_test_set_watermark_(WshTestSession *client, uint64_t low,
                                                uint64_t high) {
    WshTestEvent *event;
    if (low > high) return WSH_INVALID;
    client->low = low;
    client->high = high;
    client->is_above = client->conn.buffered > high;
    event = wsh_test_record_(client->test, WSH_TEST_WATERMARK, client->conn.id);
    event->number = low;
    event->other = high;
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_watermark_(WshConn *conn, uint64_t low,
                                                          uint64_t high) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, wsh_test_set_watermark_(client, low, high));
    return answer;
}

static inline int wsh_test_same_(WshBytes a, WshBytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline WshStatus wsh_test_topic_(WshStr topic) {
    const WshStatus lent = wsh_test_lent_text_(topic);
    if (lent != WSH_OK) return lent;
    if (topic.len > 255) return WSH_TOO_BIG;
    return topic.len == 0 || memchr(topic.ptr, 0, topic.len) != NULL ? WSH_INVALID : WSH_OK;
}

/* The index of a topic among those of a session; their number if it is not there. */
static inline size_t wsh_test_find_topic_(const WshTestSession *client, WshStr topic) {
    size_t i = 0;
    while (i < client->n_topics && !wsh_test_same_(client->topics[i], topic)) i++;
    return i;
}

static inline WshStatus wsh_test_subscribe_(WshTestSession *client, WshStr topic, uint32_t on) {
    const WshStatus status = wsh_test_topic_(topic);
    WshTestEvent *event;
    size_t at;
    if (status != WSH_OK) return status;
    if (on > 1) return WSH_INVALID;
    at = wsh_test_find_topic_(client, topic);
    if (on && at == WSH_TEST_TOPICS_MAX) return WSH_TOO_BIG;
    event = wsh_test_record_(client->test, WSH_TEST_SUBSCRIBE, client->conn.id);
    event->code = on;
    event->name = wsh_test_keep_(client->test, topic);
    if (on && at == client->n_topics) {
        client->since[at] = client->test->published;
        client->topics[client->n_topics++] = event->name;
    }
    if (!on && at < client->n_topics) {
        client->topics[at] = client->topics[--client->n_topics];
        client->since[at] = client->since[client->n_topics];
    }
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_subscribe_(WshConn *conn, WshStr topic,
                                                          uint32_t on) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, wsh_test_subscribe_(client, topic, on));
    return answer;
}

/* The test behind a `ctx`, locked. NULL if the handler was shut down, or if `ctx` is not valid. */
static inline WshTest *wsh_test_enter_(const void *ctx) {
    WshTest *test = wsh_test_running_;
    if (test == NULL || ctx != test) return NULL;
    wsh_test_lock_(test);
    if (!test->is_over) return test;
    wsh_test_unlock_(test);
    return NULL;
}

/* Why `wsh_test_enter_` returned NULL. */
static inline WshStatus wsh_test_no_entry_(const void *ctx) {
    return wsh_test_running_ != NULL && ctx == wsh_test_running_ ? WSH_GONE : WSH_MISUSE;
}

static inline WshTestSession *wsh_test_find_(WshTest *test, uint64_t id) {
    WshTestSession *client;
    if (id == 0 || id > test->n_sessions) return NULL;
    client = &test->sessions[id - 1];
    return client->is_known ? client : NULL;
}

static inline int64_t wsh_test_post_(WshTest *test, uint64_t id, WshTestLetter letter) {
    WshTestSession *client = wsh_test_find_(test, id);
    uint64_t waiting = 0;
    size_t i;
    if (client == NULL || client->refuses_letters) return WSH_GONE;
    if (test->n_letters == WSH_TEST_LETTERS_MAX) return WSH_FULL;
    for (i = 0; i < test->n_letters; i++) {
        if (test->letters[i].id == id) waiting += wsh_test_frame_(test->letters[i].bytes.len);
    }
    waiting += wsh_test_frame_(letter.bytes.len);
    if (waiting > WSH_TEST_OUTBOUND_BYTES_MAX && waiting > wsh_test_frame_(letter.bytes.len)) {
        return WSH_FULL;
    }
    letter.id = id;
    if (letter.bytes.len > 0) letter.bytes = wsh_test_keep_(test, letter.bytes);
    if (letter.what == WSH_TEST_CLOSE) client->refuses_letters = 1;
    test->letters[test->n_letters++] = letter;
    return (int64_t)(client->conn.buffered + waiting);
}

static inline WshTestLetter wsh_test_letter_(uint32_t what, uint32_t code, WshBytes bytes) {
    WshTestLetter letter;
    memset(&letter, 0, sizeof letter);
    letter.what = what;
    letter.code = code;
    letter.bytes = bytes;
    return letter;
}

static inline int64_t WSH_CALL wsh_test_host_send_to_(void *ctx, uint64_t id, uint32_t kind,
                                                      const uint8_t *data, size_t len) {
    const WshBytes bytes = wsh_bytes(data, len);
    WshTest *test = wsh_test_enter_(ctx);
    int64_t answer;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    answer = wsh_test_lent_bytes_(bytes);
    if (answer == WSH_OK) answer = wsh_test_kind_by_id_(kind, bytes);
    if (answer == WSH_OK) {
        answer = wsh_test_post_(test, id, wsh_test_letter_(WSH_TEST_SENT, kind & 0xffu, bytes));
    }
    wsh_test_unlock_(test);
    return answer;
}

static inline WshStatus WSH_CALL wsh_test_host_close_to_(void *ctx, uint64_t id, uint32_t code,
                                                         WshBytes reason) {
    WshTest *test = wsh_test_enter_(ctx);
    int64_t answer;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    answer = wsh_test_may_close_(code, reason);
    if (answer == WSH_OK) {
        answer = wsh_test_post_(test, id, wsh_test_letter_(WSH_TEST_CLOSE, code, reason));
    }
    wsh_test_unlock_(test);
    return answer < 0 ? (WshStatus)answer : WSH_OK;
}

static inline WshTestKept *wsh_test_keep_publication_(WshTest *test, WshStr topic, uint32_t kind,
                                                      WshBytes bytes);
static inline WshTestLetter *wsh_test_push_(WshTest *test, uint32_t what, uint64_t id);
static inline int64_t wsh_test_fan_out_(WshTest *test, const WshTestLetter *letter);

static inline int64_t wsh_test_publish_(WshTest *test, WshStr topic, WshTestLetter letter,
                                        uint64_t except) {
    WshTestEvent *event = wsh_test_record_(test, WSH_TEST_PUBLISH, 0);
    int64_t count = 0;
    size_t i;
    event->code = letter.code;
    event->number = except;
    event->name = wsh_test_keep_(test, topic);
    event->bytes = wsh_test_keep_(test, letter.bytes);
    letter.topic = event->name;
    letter.bytes = event->bytes;
    letter.except = except;
    letter.note = wsh_test_keep_publication_(test, letter.topic, letter.code, letter.bytes)->number;
    if (test->vtable.envelope == NULL) return wsh_test_fan_out_(test, &letter);
    letter.what = WSH_TEST_PUBLISHED_;
    letter.id = 0;
    *wsh_test_push_(test, letter.what, 0) = letter;
    for (i = 0; i < test->n_sessions; i++) {
        const WshTestSession *client = &test->sessions[i];
        if (!client->is_known || client->conn.id == except) continue;
        if (wsh_test_find_topic_(client, topic) < client->n_topics) count++;
    }
    return count;
}

static inline int64_t WSH_CALL wsh_test_host_publish_(void *ctx, WshStr topic, uint32_t kind,
                                                      const uint8_t *data, size_t len,
                                                      uint64_t except) {
    const WshBytes bytes = wsh_bytes(data, len);
    WshTest *test = wsh_test_enter_(ctx);
    int64_t answer;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    answer = wsh_test_topic_(topic);
    if (answer == WSH_OK) answer = wsh_test_lent_bytes_(bytes);
    if (answer == WSH_OK) answer = wsh_test_kind_by_id_(kind, bytes);
    if (answer == WSH_OK) {
        const WshTestLetter letter = wsh_test_letter_(WSH_TEST_SENT, kind & 0xffu, bytes);
        answer = wsh_test_publish_(test, topic, letter, except);
    }
    wsh_test_unlock_(test);
    return answer;
}

/* Wakes a session at once, or at a time. UINT64_MAX cancels its alarm. */
static inline WshStatus wsh_test_alarm_(void *ctx, uint64_t id, int is_now, uint64_t ms) {
    WshTest *test = wsh_test_enter_(ctx);
    WshTestSession *client;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    client = wsh_test_find_(test, id);
    if (client != NULL && is_now) client->is_woken = 1;
    if (client != NULL && !is_now) {
        client->alarm = ms > UINT64_MAX - test->now ? UINT64_MAX : test->now + ms;
    }
    wsh_test_unlock_(test);
    return client != NULL ? WSH_OK : WSH_GONE;
}

static inline WshStatus WSH_CALL wsh_test_host_wake_(void *ctx, uint64_t id) {
    return wsh_test_alarm_(ctx, id, 1, 0);
}

static inline WshStatus WSH_CALL wsh_test_host_wake_after_(void *ctx, uint64_t id, uint64_t ms) {
    return wsh_test_alarm_(ctx, id, 0, ms);
}

static inline WshStatus WSH_CALL wsh_test_host_notify_(void *ctx, uint64_t id, uint64_t note) {
    WshTestLetter letter = wsh_test_letter_(WSH_TEST_NOTE_, 0, wsh_str(NULL));
    WshTest *test = wsh_test_enter_(ctx);
    int64_t answer;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    letter.note = note;
    answer = wsh_test_post_(test, id, letter);
    wsh_test_unlock_(test);
    return answer < 0 ? (WshStatus)answer : WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_spawn_(void *ctx, void(WSH_CALL *run)(void *),
                                                      void *arg) {
    WshTest *test = wsh_test_enter_(ctx);
    WshStatus answer = WSH_OK;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    if (run == NULL) answer = WSH_INVALID;
    if (test->n_spawned == WSH_TEST_SPAWNED_MAX) answer = WSH_TOO_BIG;
    if (answer == WSH_OK) {
        test->spawned[test->n_spawned].run = run;
        test->spawned[test->n_spawned++].arg = arg;
    }
    wsh_test_unlock_(test);
    return answer;
}

static inline WshStatus WSH_CALL wsh_test_host_fail_(void *ctx, WshStr why) {
    WshTest *test = wsh_test_enter_(ctx);
    if (test == NULL) return WSH_ERROR;
    if (wsh_test_lent_bytes_(why) == WSH_OK) {
        wsh_test_record_(test, WSH_TEST_FAIL, 0)->bytes = wsh_test_keep_(test, why);
        fprintf(stderr, "fail: %.*s\n", (int)why.len, why.len ? (const char *)why.ptr : "");
    }
    wsh_test_unlock_(test);
    return WSH_ERROR;
}

/* Appends bytes to those that were kept last. */
static inline void wsh_test_append_(WshTest *test, WshBytes *line, WshBytes bytes) {
    if (wsh_test_lent_bytes_(bytes) != WSH_OK) return;
    wsh_test_keep_(test, bytes);
    line->len += bytes.len;
}

static inline void WSH_CALL wsh_test_host_log_(void *ctx, uint64_t id, uint32_t level,
                                               WshStr target, WshStr message,
                                               const WshPair *fields, size_t n_fields) {
    WshTest *test = wsh_test_enter_(ctx);
    const WshTestSession *about = wsh_test_lent_ != NULL ? wsh_test_lent_ : wsh_test_asked_;
    WshTestEvent *event;
    size_t i;
    if (test == NULL) return;
    if (id == 0 && about != NULL) id = about->request.id;
    if (level <= test->log_level && wsh_test_lent_bytes_(target) == WSH_OK) {
        event = wsh_test_record_(test, WSH_TEST_LOG, id);
        event->code = level;
        event->name = wsh_test_keep_(test, target);
        event->bytes = wsh_bytes(test->bytes + test->n_bytes, 0);
        wsh_test_append_(test, &event->bytes, message);
        for (i = 0; fields != NULL && i < n_fields; i++) {
            wsh_test_append_(test, &event->bytes, wsh_str(" "));
            wsh_test_append_(test, &event->bytes, fields[i].name);
            wsh_test_append_(test, &event->bytes, wsh_str("="));
            wsh_test_append_(test, &event->bytes, fields[i].value);
        }
    }
    wsh_test_unlock_(test);
}

/* The handshake that a response belongs to, if it runs on this thread. */
static inline WshTestSession *wsh_test_asked_by_(const WshResponse *response) {
    WshTestSession *client = wsh_test_asked_;
    return client != NULL && (const void *)response == (const void *)client ? client : NULL;
}

/* Whether a header of this name belongs to the handshake itself. */
static inline int wsh_test_is_servers_(WshStr name) {
    static const char *const ours[] = {"connection",
                                       "content-length",
                                       "sec-websocket-accept",
                                       "sec-websocket-extensions",
                                       "sec-websocket-key",
                                       "sec-websocket-protocol",
                                       "sec-websocket-version",
                                       "transfer-encoding",
                                       "upgrade"};
    WshPair pair;
    size_t i;
    pair.name = name;
    pair.value = name;
    for (i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (wsh_find_header(&pair, 1, ours[i]) != NULL) return 1;
    }
    return 0;
}

static inline WshStatus wsh_test_may_head_(WshStr name, WshBytes value) {
    WshStatus status = wsh_test_lent_text_(name);
    size_t i;
    if (status == WSH_OK) status = wsh_test_lent_bytes_(value);
    if (status != WSH_OK) return status;
    if (name.len == 0 || wsh_test_is_servers_(name)) return WSH_INVALID;
    for (i = 0; i < name.len; i++) {
        const uint8_t c = name.ptr[i];
        const int is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                             (c >= 'A' && c <= 'Z');
        if (!is_alnum && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) return WSH_INVALID;
    }
    for (i = 0; i < value.len; i++) {
        const uint8_t c = value.ptr[i];
        if (c != '\t' && (c < ' ' || c == 0x7f)) return WSH_INVALID;
    }
    return WSH_OK;
}

/* The length of the header lines of a response so far. */
static inline size_t wsh_test_head_bytes_(const WshTestSession *client) {
    const WshTest *test = client->test;
    size_t i, bytes = 0;
    for (i = 0; i < test->n_events; i++) {
        const WshTestEvent *event = &test->events[i];
        if (event->what != WSH_TEST_HEADER || event->id != client->conn.id) continue;
        bytes += event->name.len + event->bytes.len;
    }
    return bytes;
}

static inline WshStatus WSH_CALL wsh_test_host_header_(WshResponse *response, WshStr name,
                                                       WshBytes value) {
    WshTestSession *client = wsh_test_asked_by_(response);
    WshTestEvent *event;
    WshStatus status;
    if (client == NULL) return WSH_MISUSE;
    status = wsh_test_may_head_(name, value);
    if (status != WSH_OK) return status;
    wsh_test_lock_(client->test);
    if (wsh_test_head_bytes_(client) + name.len + value.len > 16u * 1024u) {
        status = WSH_TOO_BIG;
    } else {
        event = wsh_test_record_(client->test, WSH_TEST_HEADER, client->conn.id);
        event->name = wsh_test_keep_(client->test, name);
        event->bytes = wsh_test_keep_(client->test, value);
    }
    wsh_test_unlock_(client->test);
    return status;
}

static inline WshStatus WSH_CALL wsh_test_host_protocol_(WshResponse *response, WshStr name) {
    WshTestSession *client = wsh_test_asked_by_(response);
    WshStatus status;
    size_t i;
    if (client == NULL) return WSH_MISUSE;
    status = wsh_test_lent_text_(name);
    if (status != WSH_OK) return status;
    for (i = 0; i < client->request.n_protocols; i++) {
        if (!wsh_test_same_(client->request.protocols[i], name)) continue;
        wsh_test_lock_(client->test);
        client->conn.protocol = wsh_test_keep_(client->test, name);
        wsh_test_record_(client->test, WSH_TEST_PROTOCOL, client->conn.id)->name =
            client->conn.protocol;
        wsh_test_unlock_(client->test);
        return WSH_OK;
    }
    return WSH_INVALID;
}

static inline WshStatus WSH_CALL wsh_test_host_reject_(WshResponse *response, uint32_t code,
                                                       WshBytes body) {
    WshTestSession *client = wsh_test_asked_by_(response);
    WshTestEvent *event;
    WshStatus status;
    if (client == NULL) return WSH_MISUSE;
    status = wsh_test_lent_bytes_(body);
    if (status != WSH_OK) return status;
    if (code < 300 || code > 599) return WSH_INVALID;
    if (body.len > 1024u * 1024u) return WSH_TOO_BIG;
    wsh_test_lock_(client->test);
    event = wsh_test_record_(client->test, WSH_TEST_REJECT, client->conn.id);
    event->code = code;
    event->bytes = wsh_test_keep_(client->test, body);
    wsh_test_unlock_(client->test);
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_extensions_(WshResponse *response, uint32_t allow) {
    WshTestSession *client = wsh_test_asked_by_(response);
    if (client == NULL) return WSH_MISUSE;
    wsh_test_lock_(client->test);
    wsh_test_record_(client->test, WSH_TEST_EXTENSIONS, client->conn.id)->code = allow;
    wsh_test_unlock_(client->test);
    return WSH_OK;
}

static inline const void *WSH_CALL wsh_test_host_extension_(void *ctx, WshStr id) {
    (void)ctx;
    (void)id;
    return NULL;
}

#ifdef __cplusplus
}
#endif

#include "wsh_test_asks.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The table ends with the last function that these files have. A function that was appended to
 * WshHost later is NULL behind that end: WSH_HAS is 0 for it, as with an older server. */
static inline WshHost wsh_test_host_(WshTest *test) {
    WshHost table;
    memset(&table, 0, sizeof table);
    table.size = (uint32_t)(offsetof(WshHost, store_list) + sizeof table.store_list);
    table.abi_minor = WSH_ABI_MINOR;
    table.ctx = test;
    table.log_level = &test->log_level;
    table.check = wsh_test_host_check_;
    table.send = wsh_test_host_send_;
    table.reserve = wsh_test_host_reserve_;
    table.commit = wsh_test_host_commit_;
    table.ping = wsh_test_host_ping_;
    table.close = wsh_test_host_close_;
    table.abort = wsh_test_host_abort_;
    table.timer = wsh_test_host_timer_;
    table.reads = wsh_test_host_reads_;
    table.watermark = wsh_test_host_watermark_;
    table.subscribe = wsh_test_host_subscribe_;
    table.send_to = wsh_test_host_send_to_;
    table.close_to = wsh_test_host_close_to_;
    table.publish = wsh_test_host_publish_;
    table.wake = wsh_test_host_wake_;
    table.wake_after = wsh_test_host_wake_after_;
    table.notify = wsh_test_host_notify_;
    table.spawn = wsh_test_host_spawn_;
    table.fail = wsh_test_host_fail_;
    table.log = wsh_test_host_log_;
    table.response_header = wsh_test_host_header_;
    table.response_protocol = wsh_test_host_protocol_;
    table.response_reject = wsh_test_host_reject_;
    table.response_extensions = wsh_test_host_extensions_;
    table.extension = wsh_test_host_extension_;
    table.subscribe_from = wsh_test_host_subscribe_from_;
    table.enter = wsh_test_host_enter_;
    table.leave = wsh_test_host_leave_;
    table.publish_acked = wsh_test_host_publish_acked_;
    table.history = wsh_test_host_history_;
    table.present = wsh_test_host_present_;
    table.store_get = wsh_test_host_store_get_;
    table.store_put = wsh_test_host_store_put_;
    table.store_delete = wsh_test_host_store_delete_;
    table.store_list = wsh_test_host_store_list_;
    return table;
}

#ifdef __cplusplus
}
#endif

#endif
