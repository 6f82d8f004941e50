/*
 * wsh_test.h: drive a handler in C or C++ without a server.
 *
 *     #include <wsh_test.h>
 *
 *     extern const WshDescriptor WSH_HANDLER;    // in C++: extern "C"
 *     static WshTest test;                       // large, so not on the stack
 *
 *     int main(void) {
 *         WshTestSession *client;
 *         if (wsh_test_begin(&test, &WSH_HANDLER, "{}") != WSH_OK) return 1;
 *         client = wsh_test_open(&test, NULL);
 *         wsh_test_text(client, "Ann");
 *         if (!wsh_test_got(client, "hello Ann")) return 1;
 *         wsh_test_peer_closes(client, 1000, "");
 *         if (!wsh_test_got_close(client, 1000)) return 1;
 *         return wsh_test_end(&test);
 *     }
 *
 * It provides every function of WshHost, and calls the handler's callbacks in the order of wsh.h. It
 * records what the handler does, in order, and `wsh_test_take` returns it. Calls are answered as
 * wsh.h says: WSH_MISUSE, WSH_GONE, WSH_INVALID, WSH_TOO_BIG, WSH_UNSUPPORTED.
 *
 * Every topic has a history and may have members. `is_away` of the WshTest lets what servers share be
 * out of reach: each ask is answered WSH_UNAVAILABLE, and nothing is done.
 *
 * Include it in one file of the test, and use one WshTest at a time. All memory is in the WshTest, so
 * valgrind and sanitizers see the handler's memory only. A test that records more than fits ends with
 * a message that says so.
 *
 * Four things differ from a server. The clock moves by `wsh_test_advance` only. The peer takes what is
 * sent, and answers a Close, right after the callback, unless `is_stalled`. Jobs of `spawn` run on the
 * test's thread, in `wsh_test_run_spawned` or at the latest in `wsh_test_end`. There are no
 * extensions. Functions for any thread may be called from any thread; `wsh_test_turn` acts on them.
 */
#ifndef WSH_TEST_H
#define WSH_TEST_H

#include <stdio.h>
#include <stdlib.h>

#include "wsh.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How much fits in a WshTest. Define other numbers before. */
#ifndef WSH_TEST_BYTES_MAX
#define WSH_TEST_BYTES_MAX (4u * 1024u * 1024u)
#endif
#ifndef WSH_TEST_EVENTS_MAX
#define WSH_TEST_EVENTS_MAX 4096u
#endif
#ifndef WSH_TEST_SESSIONS_MAX
#define WSH_TEST_SESSIONS_MAX 16u
#endif
#ifndef WSH_TEST_HISTORY_MAX
#define WSH_TEST_HISTORY_MAX 64u /* publications of all topics; the oldest gives way */
#endif
#ifndef WSH_TEST_KEPT_MAX
#define WSH_TEST_KEPT_MAX 256u /* members, values, and topics with members, each */
#endif
#ifndef WSH_TEST_ITEMS_MAX
#define WSH_TEST_ITEMS_MAX 1024u /* items of all answers */
#endif
/* The defaults of a server's configuration. */
#define WSH_TEST_OUTBOUND_BYTES_MAX (1024u * 1024u)
#define WSH_TEST_STATE_MAX (1024u * 1024u)
#define WSH_TEST_TIMERS_MAX 64u
#define WSH_TEST_TOPICS_MAX 256u
#define WSH_TEST_LETTERS_MAX 1024u
#define WSH_TEST_SPAWNED_MAX 64u

/* The kinds of events: what the handler did. */
typedef enum WshTestWhat {
    WSH_TEST_SENT,       /* a message or a part: code is its kind, bytes its payload */
    WSH_TEST_PING,       /* bytes */
    WSH_TEST_CLOSE,      /* code, 1005 for an empty Close; bytes are the reason */
    WSH_TEST_ABORT,
    WSH_TEST_TIMER,      /* number is the token, other the milliseconds */
    WSH_TEST_READS,      /* code is 0 or 1 */
    WSH_TEST_WATERMARK,  /* number is low, other is high */
    WSH_TEST_SUBSCRIBE,  /* code is 0 or 1, name the topic */
    WSH_TEST_PUBLISH,    /* code is the kind, name the topic, bytes, number the exception */
    WSH_TEST_LOG,        /* code is the level, name the target, bytes the message and its fields */
    WSH_TEST_FAIL,       /* bytes: the words of `fail` */
    WSH_TEST_HEADER,     /* name, and bytes are the value */
    WSH_TEST_PROTOCOL,   /* name */
    WSH_TEST_REJECT,     /* code is the status, bytes the body */
    WSH_TEST_EXTENSIONS  /* code */
} WshTestWhat;

typedef struct WshTestEvent {
    WshTestWhat what;
    int is_taken;
    uint64_t id; /* the session's, or 0 */
    uint32_t code;
    uint64_t number;
    uint64_t other;
    WshStr name;
    WshBytes bytes;
} WshTestEvent;

/* The phase of a session. */
typedef enum WshTestPhase {
    WSH_TEST_ASKING,      /* `handshake` answered WSH_PENDING */
    WSH_TEST_OPEN,
    WSH_TEST_PEER_CLOSES, /* `closing` answered WSH_PENDING */
    WSH_TEST_CLOSED,      /* closed by `close`, or by the answer of a callback */
    WSH_TEST_ABORTED,     /* dropped by `abort` */
    WSH_TEST_LINGERS,     /* `closed` answered WSH_PENDING */
    WSH_TEST_OVER         /* refused, or destroyed */
} WshTestPhase;

typedef struct WshTest WshTest;

typedef struct WshTestTimer {
    uint64_t token;
    uint64_t at;
} WshTestTimer;

/* One client, and its session. */
typedef struct WshTestSession {
    WshTest *test;
    WshConn conn;
    WshRequest request;
    WshTestPhase phase;
    WshStatus answered; /* by the last callback */
    int is_stalled;     /* for tests to set: the peer takes nothing that is sent */
    int reads;          /* 0: the handler holds messages back; `wsh_test_message` answers AGAIN */
    void *session;
    void *attempt;
    uint32_t peer_code; /* of the peer's Close, be it the first or the answer */
    WshBytes peer_reason;
    uint32_t cause; /* what ended the session first, under WSH_CAUSE */
    uint32_t parts; /* the opcode of a message that is being sent in parts, or 0 */
    uint8_t *reserved;
    size_t n_reserved;
    uint64_t low, high;
    int is_above;
    int is_woken;
    int refuses_letters;
    int is_known; /* its id finds it */
    uint64_t alarm; /* UINT64_MAX: none */
    size_t n_timers;
    WshTestTimer timers[WSH_TEST_TIMERS_MAX];
    size_t n_topics;
    WshStr topics[WSH_TEST_TOPICS_MAX];
    uint64_t since[WSH_TEST_TOPICS_MAX]; /* the last publication before the session joined */
} WshTestSession;

/* A call to a session by its id, or something for the handler with id 0. It waits until no callback
 * runs. */
typedef struct WshTestLetter {
    uint64_t id;
    uint32_t what; /* a WshTestWhat, or WSH_TEST_NOTE_ and its like */
    uint32_t code;
    uint64_t note; /* or the token of an answer, or the number of a publication */
    WshBytes bytes;
    WshStr topic;
    uint64_t except;
    WshAnswer answer;
    WshPresenceChange change;
} WshTestLetter;

/* A publication, a member, a value, or the members of a topic. */
typedef struct WshTestKept {
    uint64_t id;     /* of a member */
    uint64_t number; /* of a publication, or the version */
    uint64_t ends;   /* of a value: milliseconds, or UINT64_MAX */
    uint32_t kind;   /* of a publication */
    WshStr name;     /* the topic or the key */
    WshBytes value;
} WshTestKept;

typedef struct WshTestSpawned {
    void(WSH_CALL *run)(void *arg);
    void *arg;
} WshTestSpawned;

/* A server with one handler. It must be zero before `wsh_test_begin`, as a static is. */
struct WshTest {
    WshHost host;
    WshInit about;
    WshInstance instance;
    WshVtable vtable;
    uint32_t log_level;
    uint32_t schema; /* of the state that `snapshot` writes */
    uint64_t now; /* milliseconds */
    int is_over;
    int is_away; /* for tests to set: what servers share cannot be reached */
    char lock;
    uint64_t published, dropped; /* the numbers of the last publications */
    uint64_t last_version;
    size_t n_history, n_members, n_values, n_versions, n_items;
    size_t n_sessions, n_events, n_letters, n_spawned, n_bytes;
    WshTestSession sessions[WSH_TEST_SESSIONS_MAX];
    WshTestEvent events[WSH_TEST_EVENTS_MAX];
    WshTestLetter letters[WSH_TEST_LETTERS_MAX];
    WshTestSpawned spawned[WSH_TEST_SPAWNED_MAX];
    WshTestKept history[WSH_TEST_HISTORY_MAX];
    WshTestKept members[WSH_TEST_KEPT_MAX];
    WshTestKept values[WSH_TEST_KEPT_MAX];
    WshTestKept versions[WSH_TEST_KEPT_MAX]; /* of the members of each topic */
    WshItem items[WSH_TEST_ITEMS_MAX];
    uint8_t bytes[WSH_TEST_BYTES_MAX];
    uint8_t state[WSH_TEST_STATE_MAX];
};

/* Loads the handler: calls `init`, `self_test` and `serving`. `config_json` is the handler's table.
 * Returns what the handler answered, or WSH_ERROR if its vtable lacks something. */
static inline WshStatus wsh_test_begin(WshTest *test, const WshDescriptor *handler,
                                       const char *config_json);
/* A request for `/`, for `wsh_test_open`. It may be changed before. */
static inline WshRequest wsh_test_request(void);
/* A client connects: calls `handshake`, and `open` if that accepts. A NULL request stands for
 * `wsh_test_request()`. The outcome is in `phase` and `answered`. What the request points to must
 * outlive the opening handshake. */
static inline WshTestSession *wsh_test_open(WshTest *test, const WshRequest *request);
/* The peer sends a message, a text, a Ping or a Pong. Returns what the callback answered. WSH_GONE:
 * the callback was not called, because the session is closing or over. */
static inline WshStatus wsh_test_message(WshTestSession *client, uint32_t kind, const void *data,
                                         size_t len);
static inline WshStatus wsh_test_text(WshTestSession *client, const char *text);
static inline WshStatus wsh_test_ping(WshTestSession *client, const void *data, size_t len);
static inline WshStatus wsh_test_pong(WshTestSession *client, const void *data, size_t len);
/* The peer closes: calls `closing`, then `closed` and `destroy`. 1005 is an empty Close. */
static inline void wsh_test_peer_closes(WshTestSession *client, uint32_t code, const char *reason);
/* The connection is lost: calls `closed` with 1006 and `destroy`, or `abandon` during a handshake. */
static inline void wsh_test_peer_leaves(WshTestSession *client);
/* Delivers messages by id, wakes and notes, until nothing is left. Every other function that runs a
 * callback does so at its end. */
static inline void wsh_test_turn(WshTest *test);
/* Moves the clock: timers and alarms run out in their order. */
static inline void wsh_test_advance(WshTest *test, uint64_t ms);
/* Moves an open session: calls `snapshot`, `restore`, and `destroy` of the old one. If a callback does
 * not answer WSH_OK, returns its answer, and the session stays as it was. Between two parts of a
 * message that the session sends, it stays, too, and the answer is WSH_AGAIN. */
static inline WshStatus wsh_test_move(WshTestSession *client);
/* Runs the jobs that `spawn` was given. */
static inline void wsh_test_run_spawned(WshTest *test);
/* Ends the test: sessions end with 1006, then come `serving` with 0, the jobs of `spawn`, and
 * `shutdown`. Returns 0, for `main`. */
static inline int wsh_test_end(WshTest *test);
/* Takes the first event of a kind that was not taken yet, of this session or, with NULL, of any; NULL
 * if there is none. */
static inline const WshTestEvent *wsh_test_take(WshTest *test, const WshTestSession *client,
                                                WshTestWhat what);
/* Takes the next message. Whether it is this text; if not, stderr says what it is. */
static inline int wsh_test_got(WshTestSession *client, const char *text);
/* Whether the session was closed with this code; if not, stderr says what happened. */
static inline int wsh_test_got_close(WshTestSession *client, uint32_t code);

#ifdef __cplusplus
}
#endif

#include "wsh_test_host.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The rest is the implementation. Names that end in `_` are not for tests. */

/* Runs `call`, a callback with the session's Conn. Functions with this Conn are answered `verdict`; if
 * that is WSH_OK, they are done. */
#define WSH_TEST_RUN_(client, verdict, call)                                                       \
    do {                                                                                           \
        wsh_test_lent_ = (client);                                                                 \
        wsh_test_verdict_ = (verdict);                                                             \
        (client)->answered = (call);                                                               \
        wsh_test_returned_(client);                                                                \
    } while (0)

static inline void wsh_test_returned_(WshTestSession *client) {
    wsh_test_lent_ = NULL;
    wsh_test_lock_(client->test);
    wsh_test_forget_reserved_(client);
    if (!client->is_stalled) client->conn.buffered = 0;
    wsh_test_unlock_(client->test);
}

static inline void *wsh_test_handler_(const WshTestSession *client) {
    return client->test->instance.handler;
}

static inline void wsh_test_over_(WshTestSession *client) {
    wsh_test_lock_(client->test);
    client->phase = WSH_TEST_OVER;
    client->is_known = 0;
    wsh_test_unlock_(client->test);
}

/* Destroys the session, after its last callback. */
static inline void wsh_test_destroy_(WshTestSession *client) {
    wsh_test_over_(client);
    client->test->vtable.destroy(client->session);
    client->session = NULL;
}

static inline void wsh_test_finish_(WshTestSession *client, uint32_t code, WshBytes reason) {
    const WshVtable *calls = &client->test->vtable;
    wsh_test_lock_(client->test);
    client->phase = WSH_TEST_LINGERS;
    client->conn.flags |= WSH_CLOSING;
    wsh_test_say_cause_(client, WSH_CAUSE_LOST);
    client->refuses_letters = 1;
    client->n_timers = 0;
    client->n_topics = 0;
    wsh_test_leave_all_(client->test, client->conn.id);
    wsh_test_unlock_(client->test);
    client->answered = WSH_OK;
    if (calls->closed != NULL) {
        WSH_TEST_RUN_(client, WSH_GONE,
                      calls->closed(client->session, &client->conn, code, reason));
    }
    if (client->answered != WSH_PENDING) wsh_test_destroy_(client);
}

/* Acts on the answer of a callback. */
static inline void wsh_test_settle_(WshTestSession *client, WshStatus status) {
    const int is_peers = client->phase == WSH_TEST_PEER_CLOSES;
    uint32_t code = 1011;
    if (status == WSH_DONE) code = !is_peers ? 1000 : client->peer_code;
    if (code == 1005) code = 0;
    if (status != WSH_OK && status != WSH_DROPPED && !(status == WSH_PENDING && is_peers)) {
        wsh_test_lock_(client->test);
        if (status != WSH_DONE) wsh_test_blame_(client, WSH_CAUSE_FAILED);
        wsh_test_put_close_(client, code, wsh_str(NULL));
        wsh_test_unlock_(client->test);
    }
    if (client->phase == WSH_TEST_CLOSED) {
        wsh_test_finish_(client, client->peer_code, client->peer_reason);
    } else if (client->phase == WSH_TEST_ABORTED) {
        wsh_test_finish_(client, 1006, wsh_str(NULL));
    }
}

/* Runs the callback `name` of the vtable, if it is not NULL and the session is open. */
#define WSH_TEST_CALL_(client, name, arguments)                                                    \
    do {                                                                                           \
        if (wsh_test_is_talking_(client) && (client)->test->vtable.name != NULL) {                 \
            WSH_TEST_RUN_(client, WSH_OK, (client)->test->vtable.name arguments);                  \
            wsh_test_settle_(client, (client)->answered);                                          \
        }                                                                                          \
    } while (0)

static inline void wsh_test_abandon_(WshTestSession *client) {
    void *attempt = client->attempt;
    wsh_test_over_(client);
    client->attempt = NULL;
    if (attempt != NULL && client->test->vtable.abandon != NULL) {
        client->test->vtable.abandon(wsh_test_handler_(client), attempt);
    }
}

static inline void wsh_test_ask_(WshTestSession *client) {
    const WshVtable *calls = &client->test->vtable;
    void *attempt;
    client->answered = WSH_OK;
    if (calls->handshake != NULL) {
        wsh_test_asked_ = client;
        client->answered = calls->handshake(wsh_test_handler_(client), &client->request,
                                             (WshResponse *)(void *)client, &client->attempt);
        wsh_test_asked_ = NULL;
    }
    client->phase = WSH_TEST_ASKING;
    if (client->answered == WSH_PENDING) return;
    if (client->answered != WSH_OK) {
        wsh_test_abandon_(client);
        return;
    }
    attempt = client->attempt;
    client->attempt = NULL;
    client->phase = WSH_TEST_OPEN;
    WSH_TEST_RUN_(client, WSH_OK,
                  calls->open(wsh_test_handler_(client), &client->conn, &client->request, attempt,
                               &client->session));
    if (client->answered == WSH_OK || client->answered == WSH_DONE) {
        wsh_test_settle_(client, client->answered);
        return;
    }
    wsh_test_lock_(client->test);
    wsh_test_put_close_(client, 1011, wsh_str(NULL));
    wsh_test_unlock_(client->test);
    wsh_test_over_(client);
}

static inline WshStatus wsh_test_begin(WshTest *test, const WshDescriptor *handler,
                                       const char *config_json) {
    const WshVtable *given;
    WshStatus status;
    memset(test, 0, sizeof *test);
    wsh_test_running_ = test;
    test->log_level = WSH_LOG_TRACE;
    test->host = wsh_test_host_(test);
    test->about.size = (uint32_t)sizeof test->about;
    test->about.generation = 1;
    test->about.config_json = wsh_str(config_json);
    test->about.name = wsh_str(handler->name);
    test->instance.size = (uint32_t)sizeof test->instance;
    test->schema = handler->state_schema;
    if (handler->reserved != 0 || handler->state_schema_min > handler->state_schema) {
        fprintf(stderr, "wsh_test.h: the descriptor's `reserved` must be 0, and its "
                        "`state_schema_min` not above `state_schema`\n");
        return WSH_ERROR;
    }
    status = handler->init(&test->host, &test->about, &test->instance);
    if (status != WSH_OK) return status;
    if (test->instance.flags != 0) {
        fprintf(stderr, "wsh_test.h: `flags` of the instance must be 0\n");
        return WSH_ERROR;
    }
    given = test->instance.vtable;
    if (given != NULL) {
        memcpy(&test->vtable, given,
               given->size < sizeof test->vtable ? given->size : sizeof test->vtable);
    }
    if (!test->vtable.open || !test->vtable.message || !test->vtable.destroy ||
        !test->vtable.shutdown) {
        fprintf(stderr, "wsh_test.h: `open`, `message`, `destroy` and `shutdown` must be there\n");
        return WSH_ERROR;
    }
    if (test->vtable.self_test != NULL) {
        status = test->vtable.self_test(test->instance.handler);
        if (status != WSH_OK) return status;
    }
    if (test->vtable.serving != NULL) test->vtable.serving(test->instance.handler, 1);
    return WSH_OK;
}

static inline WshRequest wsh_test_request(void) {
    WshRequest request;
    memset(&request, 0, sizeof request);
    request.size = (uint32_t)sizeof request;
    request.target = wsh_str("/");
    request.path = request.target;
    request.host = wsh_str("localhost");
    request.remote_addr = wsh_str("127.0.0.1:49152");
    request.client_addr = request.remote_addr;
    return request;
}

static inline WshTestSession *wsh_test_open(WshTest *test, const WshRequest *request) {
    WshTestSession *client;
    if (test->n_sessions == WSH_TEST_SESSIONS_MAX) {
        wsh_test_full_("sessions", "WSH_TEST_SESSIONS_MAX");
    }
    wsh_test_lock_(test);
    client = &test->sessions[test->n_sessions];
    client->test = test;
    client->request = request != NULL ? *request : wsh_test_request();
    client->request.id = ++test->n_sessions;
    client->conn.size = (uint32_t)sizeof client->conn;
    client->conn.id = client->request.id;
    client->is_known = 1;
    client->reads = 1;
    client->high = UINT64_MAX;
    client->alarm = UINT64_MAX;
    wsh_test_unlock_(test);
    wsh_test_ask_(client);
    wsh_test_turn(test);
    return client;
}

static inline WshStatus wsh_test_message(WshTestSession *client, uint32_t kind, const void *data,
                                         size_t len) {
    WshStatus answered = WSH_GONE;
    if (client->phase == WSH_TEST_OPEN) {
        if (!client->reads) return WSH_AGAIN;
        WSH_TEST_RUN_(client, WSH_OK,
                      client->test->vtable.message(client->session, &client->conn, kind,
                                                   (const uint8_t *)data, len));
        answered = client->answered;
        wsh_test_settle_(client, answered);
    }
    wsh_test_turn(client->test);
    return answered;
}

static inline WshStatus wsh_test_text(WshTestSession *client, const char *text) {
    return wsh_test_message(client, WSH_TEXT, text, strlen(text));
}

static inline WshStatus wsh_test_ping(WshTestSession *client, const void *data, size_t len) {
    const int is_open = client->phase == WSH_TEST_OPEN;
    client->answered = WSH_OK;
    WSH_TEST_CALL_(client, ping, (client->session, &client->conn, (const uint8_t *)data, len));
    wsh_test_turn(client->test);
    return is_open ? client->answered : WSH_GONE;
}

static inline WshStatus wsh_test_pong(WshTestSession *client, const void *data, size_t len) {
    const int is_open = client->phase == WSH_TEST_OPEN;
    client->answered = WSH_OK;
    WSH_TEST_CALL_(client, pong, (client->session, &client->conn, (const uint8_t *)data, len));
    wsh_test_turn(client->test);
    return is_open ? client->answered : WSH_GONE;
}

static inline void wsh_test_peer_closes(WshTestSession *client, uint32_t code,
                                        const char *reason) {
    const WshVtable *calls = &client->test->vtable;
    if (client->phase != WSH_TEST_OPEN) {
        wsh_test_peer_leaves(client);
        return;
    }
    client->phase = WSH_TEST_PEER_CLOSES;
    client->conn.flags |= WSH_CLOSING;
    wsh_test_say_cause_(client, WSH_CAUSE_PEER);
    client->peer_code = code;
    wsh_test_lock_(client->test);
    client->peer_reason = wsh_test_keep_(client->test, wsh_str(reason));
    wsh_test_unlock_(client->test);
    client->answered = WSH_OK;
    if (calls->closing != NULL) {
        WSH_TEST_RUN_(client, WSH_OK,
                      calls->closing(client->session, &client->conn, code, client->peer_reason));
    }
    wsh_test_settle_(client, client->answered == WSH_OK ? WSH_DONE : client->answered);
    wsh_test_turn(client->test);
}

static inline void wsh_test_peer_leaves(WshTestSession *client) {
    const WshTestPhase phase = client->phase;
    if (phase == WSH_TEST_ASKING) wsh_test_abandon_(client);
    if (phase == WSH_TEST_OPEN) wsh_test_finish_(client, 1006, wsh_str(NULL));
    if (phase == WSH_TEST_PEER_CLOSES) {
        wsh_test_finish_(client, client->peer_code, client->peer_reason);
    }
    wsh_test_turn(client->test);
}

static inline void wsh_test_deliver_(WshTestSession *client, WshTestLetter letter) {
    WshTest *test = client->test;
    if (client->phase == WSH_TEST_ASKING) { /* the only call by id that ends a handshake: a close */
        const int is_503 = letter.code == 1001 || letter.code == 1012 || letter.code == 1013;
        wsh_test_lock_(test);
        wsh_test_record_(test, WSH_TEST_REJECT, letter.id)->code = is_503 ? 503 : 403;
        wsh_test_unlock_(test);
        wsh_test_abandon_(client);
    } else if (letter.what == WSH_TEST_NOTE_) {
        WSH_TEST_CALL_(client, note, (client->session, &client->conn, letter.note));
    } else if (letter.what == WSH_TEST_ANSWER_) {
        WSH_TEST_CALL_(client, answer,
                       (client->session, &client->conn, letter.note, &letter.answer));
    } else {
        if (letter.what == WSH_TEST_MISSED_) {
            letter.bytes = wsh_test_form_(test, &letter);
            letter.what = WSH_TEST_SENT;
        }
        wsh_test_lock_(test);
        if (letter.what == WSH_TEST_SENT) {
            wsh_test_put_(client, letter.code, letter.bytes, 1);
        } else {
            wsh_test_put_close_(client, letter.code, letter.bytes);
        }
        if (!client->is_stalled) client->conn.buffered = 0;
        wsh_test_unlock_(test);
        wsh_test_settle_(client, WSH_OK);
    }
}

/* Delivers the first call by id that can be delivered; 0 if there is none. */
static inline int wsh_test_deliver_one_(WshTest *test) {
    WshTestSession *client = NULL;
    WshTestLetter letter;
    size_t i;
    memset(&letter, 0, sizeof letter);
    wsh_test_lock_(test);
    for (i = 0; i < test->n_letters; i++) {
        letter = test->letters[i];
        client = wsh_test_find_(test, letter.id);
        if (client == NULL) break;
        if (client->phase == WSH_TEST_ASKING) {
            if (letter.what == WSH_TEST_CLOSE) break;
        } else if (!client->parts || letter.what == WSH_TEST_ANSWER_) {
            break; /* the rest of a message in parts may depend on an answer */
        }
    }
    if (i == test->n_letters) {
        wsh_test_unlock_(test);
        return 0;
    }
    test->n_letters--;
    memmove(&test->letters[i], &test->letters[i + 1],
            (test->n_letters - i) * sizeof test->letters[0]);
    wsh_test_unlock_(test);
    if (client != NULL) wsh_test_deliver_(client, letter);
    if (letter.id == 0) wsh_test_serve_(test, letter);
    return 1;
}

/* Runs a `wake` or a `drain` that is due; 0 if none is. */
static inline int wsh_test_wake_(WshTestSession *client) {
    const WshVtable *calls = &client->test->vtable;
    int is_woken;
    wsh_test_lock_(client->test);
    is_woken = client->is_woken;
    client->is_woken = 0;
    if (!client->is_stalled) client->conn.buffered = 0;
    wsh_test_unlock_(client->test);
    if (is_woken && client->phase == WSH_TEST_ASKING) {
        wsh_test_ask_(client);
    } else if (is_woken && client->phase == WSH_TEST_LINGERS) {
        client->answered = WSH_OK;
        if (calls->wake != NULL) {
            WSH_TEST_RUN_(client, WSH_GONE, calls->wake(client->session, &client->conn));
        }
        if (client->answered != WSH_PENDING) wsh_test_destroy_(client);
    } else if (is_woken) {
        WSH_TEST_CALL_(client, wake, (client->session, &client->conn));
    }
    if (!client->is_above || client->conn.buffered > client->low) return is_woken;
    client->is_above = 0;
    WSH_TEST_CALL_(client, drain, (client->session, &client->conn));
    return 1;
}

static inline void wsh_test_turn(WshTest *test) {
    unsigned rounds = 0;
    int has_more = 1;
    size_t i;
    while (has_more) {
        has_more = wsh_test_deliver_one_(test);
        for (i = 0; i < test->n_sessions; i++) has_more |= wsh_test_wake_(&test->sessions[i]);
        if (++rounds == 1000000u) {
            fprintf(stderr, "wsh_test.h: the handler wakes itself, or writes to itself, for "
                            "ever\n");
            abort();
        }
    }
}

/* The session whose timer or alarm is due first, not after `end`. `which` is the index of the timer, or
 * SIZE_MAX for the alarm, which then counts as rung. */
static inline WshTestSession *wsh_test_due_(WshTest *test, uint64_t end, size_t *which) {
    WshTestSession *due = NULL;
    uint64_t first = end;
    size_t i, k;
    wsh_test_lock_(test);
    for (i = 0; i < test->n_sessions; i++) {
        WshTestSession *client = &test->sessions[i];
        if (client->phase == WSH_TEST_OVER) continue;
        for (k = 0; k < client->n_timers; k++) {
            if (client->timers[k].at > first || (due && client->timers[k].at == first)) continue;
            first = client->timers[k].at;
            due = client;
            *which = k;
        }
        if (client->alarm == UINT64_MAX || client->alarm > first) continue;
        if (due && client->alarm == first) continue;
        first = client->alarm;
        due = client;
        *which = SIZE_MAX;
    }
    if (due != NULL && first > test->now) test->now = first;
    if (due != NULL && *which == SIZE_MAX) {
        due->alarm = UINT64_MAX;
        due->is_woken = 1;
    }
    wsh_test_unlock_(test);
    return due;
}

static inline void wsh_test_advance(WshTest *test, uint64_t ms) {
    const uint64_t end = ms > UINT64_MAX - test->now ? UINT64_MAX : test->now + ms;
    WshTestSession *client;
    size_t which = 0;
    while ((client = wsh_test_due_(test, end, &which)) != NULL) {
        if (which != SIZE_MAX) {
            const uint64_t token = client->timers[which].token;
            client->n_timers--;
            memmove(&client->timers[which], &client->timers[which + 1],
                    (client->n_timers - which) * sizeof client->timers[0]);
            WSH_TEST_CALL_(client, timer, (client->session, &client->conn, token));
        }
        wsh_test_turn(test);
    }
    wsh_test_lock_(test);
    test->now = end;
    wsh_test_unlock_(test);
}

static inline WshStatus wsh_test_move(WshTestSession *client) {
    WshTest *test = client->test;
    const uint32_t schema = test->schema;
    WshBytes state = wsh_bytes(test->state, 0);
    const uint32_t flags = client->conn.flags;
    void *moved = NULL;
    const WshSink sink = wsh_test_sink_into_(&state);
    if (client->phase != WSH_TEST_OPEN) return WSH_GONE;
    if (!test->vtable.snapshot || !test->vtable.restore) return WSH_UNSUPPORTED;
    if (client->parts) return WSH_AGAIN;
    wsh_test_sink_ = &state;
    WSH_TEST_RUN_(client, WSH_MISUSE,
                  test->vtable.snapshot(client->session, &client->conn, &sink));
    wsh_test_sink_ = NULL;
    if (client->answered != WSH_OK) return client->answered;
    client->conn.flags |= WSH_RESTORED;
    WSH_TEST_RUN_(client, WSH_MISUSE,
                  test->vtable.restore(test->instance.handler, &client->conn, schema, state.ptr,
                                       state.len, &moved));
    if (client->answered != WSH_OK) {
        client->conn.flags = flags;
        return client->answered;
    }
    test->vtable.destroy(client->session);
    client->session = moved;
    wsh_test_turn(test);
    return WSH_OK;
}

static inline void wsh_test_run_spawned(WshTest *test) {
    WshTestSpawned first;
    for (;;) {
        wsh_test_lock_(test);
        first = test->spawned[0];
        if (test->n_spawned == 0) break;
        test->n_spawned--;
        memmove(&test->spawned[0], &test->spawned[1], test->n_spawned * sizeof first);
        wsh_test_unlock_(test);
        first.run(first.arg);
    }
    wsh_test_unlock_(test);
    wsh_test_turn(test);
}

static inline int wsh_test_end(WshTest *test) {
    size_t i;
    for (i = 0; i < test->n_sessions; i++) {
        wsh_test_peer_leaves(&test->sessions[i]);
        if (test->sessions[i].phase == WSH_TEST_LINGERS) wsh_test_destroy_(&test->sessions[i]);
    }
    if (test->vtable.serving != NULL) test->vtable.serving(test->instance.handler, 0);
    wsh_test_run_spawned(test);
    test->vtable.shutdown(test->instance.handler);
    wsh_test_lock_(test);
    test->is_over = 1;
    wsh_test_unlock_(test);
    return 0;
}

static inline const WshTestEvent *wsh_test_take(WshTest *test, const WshTestSession *client,
                                                WshTestWhat what) {
    WshTestEvent *found = NULL;
    size_t i;
    wsh_test_lock_(test);
    for (i = 0; i < test->n_events && found == NULL; i++) {
        WshTestEvent *event = &test->events[i];
        if (event->is_taken || event->what != what) continue;
        if (client == NULL || event->id == client->conn.id) found = event;
    }
    if (found != NULL) found->is_taken = 1;
    wsh_test_unlock_(test);
    return found;
}

static inline int wsh_test_got(WshTestSession *client, const char *text) {
    const WshTestEvent *event = wsh_test_take(client->test, client, WSH_TEST_SENT);
    if (event == NULL) {
        fprintf(stderr, "`%s` was wanted, and nothing more was sent\n", text);
        return 0;
    }
    if (wsh_equals(event->bytes, text)) return 1;
    fprintf(stderr, "`%s` was wanted, `%.*s` was sent\n", text, (int)event->bytes.len,
            (const char *)event->bytes.ptr);
    return 0;
}

static inline int wsh_test_got_close(WshTestSession *client, uint32_t code) {
    const WshTestEvent *event = wsh_test_take(client->test, client, WSH_TEST_CLOSE);
    if (event != NULL && event->code == code) return 1;
    if (event == NULL) {
        fprintf(stderr, "a Close with %lu was wanted, none was sent\n", (unsigned long)code);
    } else {
        fprintf(stderr, "a Close with %lu was wanted, %lu was sent\n", (unsigned long)code,
                (unsigned long)event->code);
    }
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
