// The client of Go's gorilla/websocket.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const text = "Hello, wörld €"

var (
	url    = os.Args[1]
	dialer = websocket.Dialer{EnableCompression: true, TLSClientConfig: &tls.Config{RootCAs: authorities()}}
)

func main() {
	binary := make([]byte, 256)
	for at := range binary {
		binary[at] = byte(at)
	}
	var large strings.Builder
	for n := 0; large.Len() < 1024*1024; n++ {
		fmt.Fprintf(&large, "line %d of a large message\n", n)
	}

	fmt.Println("version: Debian's package,", runtime.Version())
	socket := connect("/echo")
	echo(socket, "text", websocket.TextMessage, text)
	echo(socket, "binary", websocket.BinaryMessage, string(binary))
	echo(socket, "empty", websocket.TextMessage, "")
	echo(socket, "large", websocket.TextMessage, large.String()[:1024*1024])
	fragments()
	ping(socket)
	idle(socket)
	closing(socket, "close 1000", 1000, "", "")

	socket = connect("/echo_takeover")
	for n := 0; n < 3; n++ {
		send(socket, websocket.TextMessage, "the text of a message that comes again")
	}
	_, first := receive(socket)
	_, second := receive(socket)
	_, third := receive(socket)
	expect("takeover", first+second+third, strings.Repeat("the text of a message that comes again", 3))

	dialer.Subprotocols = []string{"chat", "echo"}
	expect("subprotocol", connect("/echo").Subprotocol(), "echo")
	dialer.Subprotocols = nil
	closing(connect("/close"), "close 4000", 4000, "going home", "going home")
	socket = connect("/close")
	send(socket, websocket.TextMessage, "4001 lunch")
	expect("server closes", endOf(socket), "4001 lunch")
}

// A message in several frames: one for each time that a small buffer is full.
func fragments() {
	small := dialer
	small.WriteBufferSize = 8
	socket, _, err := small.Dial(url+"/echo", nil)
	check(err)
	echo(socket, "fragments", websocket.TextMessage, text+text+text)
}

func ping(socket *websocket.Conn) {
	pong := ""
	socket.SetPongHandler(func(payload string) error {
		pong = payload
		return nil
	})
	check(socket.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(10*time.Second)))
	send(socket, websocket.TextMessage, text)
	receive(socket)
	expect("ping", pong, "are you there")
}

// It answers a Ping of the server only while it reads, so a message is sent from elsewhere.
func idle(socket *websocket.Conn) {
	go func() {
		time.Sleep(3 * time.Second)
		send(socket, websocket.TextMessage, text)
	}()
	_, answer := receive(socket)
	expect("idle", answer, text)
}

func closing(socket *websocket.Conn, name string, code int, reason, wanted string) {
	frame := websocket.FormatCloseMessage(code, reason)
	check(socket.WriteControl(websocket.CloseMessage, frame, time.Now().Add(10*time.Second)))
	expect(name, endOf(socket), fmt.Sprintf("%d %s", code, wanted))
}

func connect(path string) *websocket.Conn {
	socket, response, err := dialer.Dial(url+path, nil)
	check(err)
	if path == "/echo" && dialer.Subprotocols == nil {
		fmt.Println("extensions:", response.Header.Get("Sec-WebSocket-Extensions"))
	}
	check(socket.SetReadDeadline(time.Now().Add(20 * time.Second)))
	return socket
}

func echo(socket *websocket.Conn, name string, kind int, message string) {
	send(socket, kind, message)
	foundKind, found := receive(socket)
	expect(name, fmt.Sprint(foundKind, found), fmt.Sprint(kind, message))
}

func send(socket *websocket.Conn, kind int, message string) {
	check(socket.WriteMessage(kind, []byte(message)))
}

func receive(socket *websocket.Conn) (int, string) {
	kind, message, err := socket.ReadMessage()
	check(err)
	return kind, string(message)
}

// The code and the reason with which the server closes.
func endOf(socket *websocket.Conn) string {
	_, _, err := socket.ReadMessage()
	if end, is := err.(*websocket.CloseError); is {
		return fmt.Sprintf("%d %s", end.Code, end.Text)
	}
	return fmt.Sprint(err)
}

func expect(name, found, wanted string) {
	if found == wanted {
		fmt.Printf("%s: ok\n", name)
	} else {
		fmt.Printf("%s: failed, %.80q instead of %.80q\n", name, found, wanted)
	}
}

func authorities() *x509.CertPool {
	pem, err := os.ReadFile(os.Args[2])
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
