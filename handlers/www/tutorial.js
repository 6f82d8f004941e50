// The classic HTML5 WebSocket tutorial: this function runs, and is shown on the page.
"use strict";

function WebSocketTest() {
  if ("WebSocket" in window) {
    alert("WebSocket is supported by your Browser!");

    // Let us open a web socket
    const ws = new WebSocket(wsh.url("/echo"));

    ws.onopen = function () {
      // Web Socket is connected, send data using send()
      ws.send("Message to send");
      report("sent: Message to send");
      alert("Message is sent...");
    };

    ws.onmessage = function (event) {
      const received = event.data;
      report("received: " + received);
      alert("Message is received...");
      ws.close();
    };

    ws.onclose = function (event) {
      // websocket is closed.
      report("closed, code " + event.code);
      alert("Connection is closed...");
    };
  } else {
    // The browser doesn't support WebSocket
    alert("WebSocket NOT supported by your Browser!");
  }
}

// The alerts come and go; this stays.
function report(text) {
  wsh.write(document.getElementById("report"), "note", text);
}

// A page of its own with that function in it, as a reader saves it: with this server's address, and without reports.
function ownPage() {
  const lines = String(WebSocketTest).split("\n").filter((line) => !line.includes("report("));
  const script = lines.join("\n").replace('wsh.url("/echo")', `"${wsh.url("/echo")}"`);
  return `<!DOCTYPE HTML>
<html>
  <head>
    <meta charset="utf-8">
    <script>
${script.replaceAll(/^(?=.)/gm, "      ")}
    </script>
  </head>
  <body>
    <a href="javascript:WebSocketTest()">Run WebSocket</a>
  </body>
</html>
`;
}

document.getElementById("run").addEventListener("click", WebSocketTest);
document.getElementById("source").textContent = ownPage();
wsh.copies(document.getElementById("copy"), ownPage);
document.getElementById("save").addEventListener("click", () => wsh.save("websocket.html", ownPage()));
