// Answers at /{{name}}: greets a client by the name that it sends.
#include <exception>
#include <string>
#include <string_view>

#include <wsh.h>

namespace {

const WshHost *host;

// Runs the body of a callback. No exception may leave a callback: it becomes WSH_PANIC, which closes the
// session with 1011, and its text goes to the log.
template <class Body> WshStatus guarded(Body body) noexcept {
    try {
        return body();
    } catch (const std::exception &error) {
        host->fail(host->ctx, wsh_str(error.what()));
    } catch (...) {
        host->fail(host->ctx, wsh_str("an exception that is no std::exception"));
    }
    return WSH_PANIC;
}

// One open WebSocket. It is destroyed when the session is over.
class Session {
  public:
    WshStatus on_message(WshConn *conn, uint32_t kind, std::string_view message) {
        answer_ = "hello ";
        answer_ += message;
        const auto *bytes = reinterpret_cast<const uint8_t *>(answer_.data());
        return host->send(conn, kind, bytes, answer_.size()) < 0 ? WSH_ERROR : WSH_OK;
    }

  private:
    std::string answer_;
};

extern "C" {

static WshStatus on_open(void *, WshConn *, const WshRequest *, void *, void **session) noexcept {
    return guarded([&]() -> WshStatus {
        *session = new Session;
        return WSH_OK;
    });
}

static WshStatus on_message(void *session, WshConn *conn, uint32_t kind, const uint8_t *data,
                            size_t len) noexcept {
    return guarded([&] {
        const std::string_view message(reinterpret_cast<const char *>(data), len);
        return static_cast<Session *>(session)->on_message(conn, kind, message);
    });
}

static void destroy(void *session) noexcept { delete static_cast<Session *>(session); }

static void on_shutdown(void *) noexcept {}

static WshStatus init(const WshHost *from, const WshInit *, WshInstance *instance) noexcept {
    static WshVtable vtable;
    host = from;
    return guarded([&]() -> WshStatus {
        vtable.size = sizeof vtable;
        vtable.open = on_open;
        vtable.message = on_message;
        vtable.destroy = destroy;
        vtable.shutdown = on_shutdown;
        instance->vtable = &vtable;
        return WSH_OK;
    });
}

} // extern "C"

} // namespace

WSH_DEFINE("{{name}}", "0.1.0", init);
