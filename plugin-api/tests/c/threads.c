/* A handler whose thread calls the functions for any thread, and a test of it by wsh_test.h. */
#include <pthread.h>

#include <wsh_test.h>

#define TIMES 200

static const WshHost *host;
static uint64_t id;
static int notes, is_over, was_misused;
static pthread_t thread;

static void *call(void *conn) {
    uint64_t i;
    for (i = 0; i < TIMES; i++) {
        host->wake(host->ctx, id);
        host->wake_after(host->ctx, id, 1);
        host->notify(host->ctx, id, i);
        host->send_to(host->ctx, id, WSH_TEXT, (const uint8_t *)"to", 2);
        host->publish(host->ctx, wsh_str("topic"), WSH_TEXT, (const uint8_t *)"all", 3, 0);
        wsh_log(host, WSH_LOG_INFO, "a line");
        /* Also while a callback of the session runs on another thread. */
        if (host->send((WshConn *)conn, WSH_TEXT, NULL, 0) != WSH_MISUSE) was_misused = 1;
    }
    return NULL;
}

static WshStatus on_open(void *handler, WshConn *conn, const WshRequest *request, void *attempt,
                         void **session) {
    (void)handler, (void)request, (void)attempt, (void)session;
    id = conn->id;
    if (host->subscribe(conn, wsh_str("topic"), 1) != WSH_OK) return WSH_ERROR;
    return pthread_create(&thread, NULL, call, conn) ? WSH_ERROR : WSH_OK;
}

static WshStatus on_message(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                            size_t len) {
    (void)session;
    return host->send(conn, kind, data, len) < 0 ? WSH_ERROR : WSH_OK;
}

static WshStatus on_note(void *session, WshConn *conn, uint64_t note) {
    (void)session, (void)conn;
    return note == (uint64_t)notes++ ? WSH_OK : WSH_ERROR;
}

static void destroy(void *session) { (void)session; }

static void on_shutdown(void *handler) {
    (void)handler;
    is_over = 1;
}

static WshStatus init(const WshHost *from, const WshInit *about, WshInstance *instance) {
    static WshVtable vtable;
    (void)about;
    host = from;
    vtable.size = (uint32_t)sizeof vtable;
    vtable.open = on_open;
    vtable.message = on_message;
    vtable.note = on_note;
    vtable.destroy = destroy;
    vtable.shutdown = on_shutdown;
    instance->vtable = &vtable;
    return WSH_OK;
}

WSH_DEFINE("threads", "1.0", init);

static WshTest test;

/* How many messages of this text were sent. */
static int sent(const char *text) {
    size_t i;
    int count = 0;
    for (i = 0; i < test.n_events; i++) {
        if (test.events[i].what != WSH_TEST_SENT) continue;
        count += wsh_equals(test.events[i].bytes, text);
    }
    return count;
}

int main(void) {
    WshTestSession *client;
    int i;
    if (wsh_test_begin(&test, &WSH_HANDLER, "{}") != WSH_OK) return 1;
    client = wsh_test_open(&test, NULL);
    for (i = 0; i < 10 * 1000 * 1000 && (i < TIMES || notes < TIMES); i++) {
        if (i < TIMES && wsh_test_text(client, "own") != WSH_OK) return 2;
        wsh_test_advance(&test, 1);
    }
    if (pthread_join(thread, NULL)) return 3;
    wsh_test_turn(&test);
    if (notes != TIMES || was_misused || client->phase != WSH_TEST_OPEN) return 4;
    if (sent("own") != TIMES || sent("to") != TIMES || sent("all") != TIMES) return 5;
    return wsh_test_end(&test) || !is_over ? 6 : 0;
}
