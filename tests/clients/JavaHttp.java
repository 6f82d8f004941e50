import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** The client of `java.net.http`. It has no compression. */
public class JavaHttp {
    static final String TEXT = "Hello, wörld €";
    static String url;
    static HttpClient client;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        client = HttpClient.newBuilder().sslContext(trusting(arguments[1])).build();
        System.out.println("version: " + System.getProperty("java.version"));
        System.out.println("extensions: none");

        var events = new Events();
        var socket = connect("/echo", events);
        socket.sendText(TEXT, true).join();
        expect("text", events.next(), "text " + TEXT);
        var bytes = new byte[256];
        for (int at = 0; at < 256; at++) {
            bytes[at] = (byte) at;
        }
        socket.sendBinary(ByteBuffer.wrap(bytes), true).join();
        expect("binary", events.next(), "binary " + new String(bytes, "ISO-8859-1"));
        socket.sendText("", true).join();
        expect("empty", events.next(), "text ");
        var large = new StringBuilder();
        for (int n = 0; large.length() < 1024 * 1024; n++) {
            large.append("line " + n + " of a large message\n");
        }
        large.setLength(1024 * 1024);
        socket.sendText(large, true).join();
        expect("large", events.next(), "text " + large);
        socket.sendText("Hel", false).join();
        socket.sendText("", false).join();
        socket.sendText("lo, wörld €", true).join();
        expect("fragments", events.next(), "text " + TEXT);
        socket.sendPing(ByteBuffer.wrap("are you there".getBytes())).join();
        expect("ping", events.next(), "pong are you there");
        Thread.sleep(3000);
        socket.sendText(TEXT, true).join();
        expect("idle", events.next(), "text " + TEXT);
        socket.sendClose(1000, "").join();
        expect("close 1000", events.next(), "close 1000 ");

        System.out.println("takeover: cannot, it has no compression");
        socket = connect("/echo", new Events(), "echo");
        expect("subprotocol", socket.getSubprotocol(), "echo");
        socket.sendClose(1000, "").join();
        events = new Events();
        connect("/close", events).sendClose(4000, "going home").join();
        expect("close 4000", events.next(), "close 4000 going home");
        events = new Events();
        connect("/close", events).sendText("4001 lunch", true).join();
        expect("server closes", events.next(), "close 4001 lunch");
        System.exit(0);
    }

    static WebSocket connect(String path, Events events, String... protocols) {
        var builder = client.newWebSocketBuilder();
        if (protocols.length > 0) {
            builder.subprotocols("chat", protocols);
        }
        return builder.buildAsync(URI.create(url + path), events).join();
    }

    /** What comes, each as a text that begins with its kind. */
    static class Events implements WebSocket.Listener {
        final LinkedBlockingQueue<String> queue = new LinkedBlockingQueue<>();
        final StringBuilder message = new StringBuilder();

        String next() throws Exception {
            return String.valueOf(queue.poll(20, TimeUnit.SECONDS));
        }

        void add(String kind, CharSequence part, boolean isLast) {
            message.append(part);
            if (isLast) {
                queue.add(kind + message);
                message.setLength(0);
            }
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
            add("text ", part, isLast);
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean isLast) {
            add("binary ", text(part, "ISO-8859-1"), isLast);
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onPong(WebSocket socket, ByteBuffer payload) {
            queue.add("pong " + text(payload, "UTF-8"));
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            queue.add("close " + code + " " + reason);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            queue.add("error " + error);
        }
    }

    static String text(ByteBuffer buffer, String charset) {
        return java.nio.charset.Charset.forName(charset).decode(buffer).toString();
    }

    static void expect(String check, String found, String wanted) {
        var failure = "failed, `" + shown(found) + "` instead of `" + shown(wanted) + "`";
        System.out.println(check + ": " + (found.equals(wanted) ? "ok" : failure));
    }

    static String shown(String text) {
        return text.substring(0, Math.min(text.length(), 80));
    }

    static SSLContext trusting(String file) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var pem = new FileInputStream(file)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
