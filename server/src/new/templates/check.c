/* Drives the handler without a server: `make check`. It stands in for one as far as it is asked to;
 * what else a handler calls is added to `host`. */
#include <stdio.h>
#include <wsh.h>

extern const WshDescriptor WSH_HANDLER;

static uint8_t reserved[256];
static size_t sent;

static uint8_t *reserve(WshConn *conn, size_t max) {
    (void)conn;
    return max <= sizeof reserved ? reserved : NULL;
}

static int64_t commit(WshConn *conn, uint32_t kind, size_t len) {
    (void)conn, (void)kind;
    sent = len;
    return (int64_t)len;
}

int main(void) {
    static const uint32_t log_level = WSH_LOG_OFF;
    const WshHost host = {.size = sizeof host,
                          .abi_minor = WSH_ABI_MINOR,
                          .log_level = &log_level,
                          .reserve = reserve,
                          .commit = commit};
    const WshInit about = {.size = sizeof about, .generation = 1, .config_json = wsh_str("{}")};
    const WshRequest request = {.size = sizeof request, .id = 1};
    WshInstance instance = {.size = sizeof instance};
    WshConn conn = {.size = sizeof conn, .id = 1};
    void *session = NULL;

    if (WSH_HANDLER.init(&host, &about, &instance) != WSH_OK) return puts("not loaded"), 1;
    const WshVtable *handler = instance.vtable;
    if (handler->open(instance.handler, &conn, &request, NULL, &session) != WSH_OK)
        return puts("not opened"), 1;
    WshStr name = wsh_str("Ann");
    handler->message(session, &conn, WSH_TEXT, name.ptr, name.len);
    handler->destroy(session);
    handler->shutdown(instance.handler);

    if (!wsh_equals(wsh_bytes(reserved, sent), "hello Ann"))
        return printf("`hello Ann` was wanted, `%.*s` was sent\n", (int)sent, reserved), 1;
    puts("whoever gives a name is greeted: ok");
    return 0;
}
