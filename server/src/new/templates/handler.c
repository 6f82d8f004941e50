/* Answers at /{{name}}: greets a client by the name that it sends. */
#include <wsh.h>

static const WshHost *host;

/* A handler that remembers something allocates a session here, puts it into *session and frees it in `destroy`. */
static WshStatus on_open(void *handler, WshConn *conn, const WshRequest *request, void *attempt,
                         void **session) {
    (void)handler, (void)conn, (void)request, (void)attempt, (void)session;
    return WSH_OK;
}

static WshStatus on_message(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                            size_t len) {
    static const char hello[] = "hello ";
    const size_t before = sizeof hello - 1;
    uint8_t *answer = host->reserve(conn, before + len);
    (void)session;
    if (answer == NULL) return WSH_ERROR;
    memcpy(answer, hello, before);
    if (len > 0) memcpy(answer + before, data, len);
    host->commit(conn, kind, before + len);
    return WSH_OK;
}

static void nothing(void *it) { (void)it; }

static const WshVtable vtable = {
    .size = sizeof(WshVtable),
    .open = on_open,
    .message = on_message,
    .destroy = nothing,
    .shutdown = nothing,
};

static WshStatus init(const WshHost *from, const WshInit *about, WshInstance *instance) {
    (void)about;
    host = from;
    instance->vtable = &vtable;
    return WSH_OK;
}

WSH_DEFINE("{{name}}", "0.1.0", init);
