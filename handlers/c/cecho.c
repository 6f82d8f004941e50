/* Sends every message back, in C. On exactly `Goodbye` it closes after that, as echo_wsh does.
 *
 *     cc -shared -fPIC -O2 -I plugin-api/include -o cecho_wsh.so handlers/c/cecho.c
 */
#define WSH_DESCRIPTION "Sends every message back, in C"
#include <wsh.h>

static const WshHost *host;

static WshStatus on_open(void *handler, WshConn *conn, const WshRequest *request, void *attempt,
                         void **session) {
    (void)handler, (void)conn, (void)request, (void)attempt, (void)session;
    return WSH_OK; /* a session without anything in it is NULL */
}

static WshStatus on_message(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                            size_t len) {
    (void)session;
    host->send(conn, kind, data, len);
    if (kind == WSH_TEXT && wsh_equals(wsh_bytes(data, len), "Goodbye")) {
        host->close(conn, 1000, wsh_str(""));
    }
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

WSH_DEFINE("cecho", "1.0", init);
