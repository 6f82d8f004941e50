/* Drives the handler without a server: `make check`. wsh_test.h explains all that a test can do. */
#include <wsh_test.h>

extern const WshDescriptor WSH_HANDLER;

static WshTest test;

int main(void) {
    WshTestSession *client;
    if (wsh_test_begin(&test, &WSH_HANDLER, "{}") != WSH_OK) return 1;
    client = wsh_test_open(&test, NULL);
    wsh_test_text(client, "Ann");
    if (!wsh_test_got(client, "hello Ann")) return 1;
    wsh_test_peer_closes(client, 1000, "");
    if (!wsh_test_got_close(client, 1000)) return 1;
    puts("a client that gives a name is greeted, and its Close is answered: ok");
    return wsh_test_end(&test);
}
