// From an empty directory to a handler that answers.
"use strict";

const part = (id) => document.getElementById(id);
let socket = null;

// The shortest handler of each style, and what there is to say of it, with code between backticks.
const styles = {
  events: {
    flag: "",
    code: (type) => `use wsh::prelude::*;

#[derive(Default)]
struct ${type};

impl Session for ${type} {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        conn.send(format!("hello {message}"))?;
        Ok(())
    }
}

wsh::handler!(${type});`,
    explained: "A value of this type is one open WebSocket, and `on_message` is called for each of its messages.",
  },
  async: {
    flag: " --style async",
    code: (_, name) => `use wsh::prelude::*;

async fn ${name}(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        conn.send(format!("hello {message}")).await?;
    }
    Ok(())
}

wsh::handler!(async ${name}, restarts);`,
    explained:
      "The function is called for each WebSocket, and its end is the end of the session. After a save an open session " +
      "begins again at its top, which is what `restarts` allows.",
  },
  blocking: {
    flag: " --style blocking",
    code: (_, name) => `use wsh::prelude::*;

fn ${name}(conn: BlockingConn) -> Result {
    for message in &conn {
        conn.send(format!("hello {message}"))?;
    }
    Ok(())
}

wsh::handler!(blocking ${name});`,
    explained:
      "The function has a thread of its own for each WebSocket. An open session stays on the code that it began with.",
  },
};

function show() {
  const [name, style] = [part("name").value, styles[part("style").value]];
  if (!part("name").validity.valid) return;
  // `my_handler` is the type `MyHandler`.
  const type = name.replaceAll(/(?:^|_+)([a-z0-9]?)/g, (_, letter) => letter.toUpperCase());
  part("make").textContent = `wshd new ${name}${style.flag}`;
  part("code").textContent = style.code(type, name);
  const more =
    "What `wshd new` writes is longer: it has a test and remembers its guest. To begin with the shortest, put this in " +
    "the place of `NAME/src/lib.rs`.";
  part("explained").replaceChildren(...withCode(`${style.explained} ${more.replace("NAME", name)}`));
  part("serve").textContent = `wshd dev ${name}`;
  if (!socket) part("url").value = wsh.url(`/${name}`);
}

// The text as nodes of a page: what stands between backticks is code.
function withCode(text) {
  return text.split("`").map((words, at) => {
    if (at % 2 === 0) return words;
    const code = document.createElement("code");
    code.textContent = words;
    return code;
  });
}

function connect() {
  let wasOpen = false;
  try {
    socket = wsh.open(part("url").value);
  } catch (error) {
    wsh.write(part("log"), "bad", error.message);
    return;
  }
  state("connecting", "connecting");
  socket.addEventListener("open", () => {
    wasOpen = true;
    state("open", "connected");
    part("message").focus({ preventScroll: true });
  });
  socket.addEventListener("message", ({ data }) => {
    wsh.write(part("log"), "received", typeof data === "string" ? data : `${data.size} bytes`);
  });
  socket.addEventListener("close", (event) => {
    socket = null;
    state("closed", "not connected");
    wsh.write(part("log"), event.wasClean ? "note" : "bad", wsh.ended(event, wasOpen));
  });
}

function state(state, text) {
  part("state").dataset.state = state;
  part("state").textContent = text;
  part("message").disabled = part("send").disabled = state !== "open";
  part("connect").textContent = socket ? "Close" : "Connect";
}

for (const button of document.querySelectorAll("[data-copies]")) {
  wsh.copies(button, () => part(button.dataset.copies).textContent);
}
part("naming").addEventListener("input", show);
part("naming").addEventListener("change", show);
part("naming").addEventListener("submit", (event) => event.preventDefault());
part("connect").addEventListener("click", () => (socket ? socket.close(1000) : connect()));
part("talk").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(part("message").value);
  wsh.write(part("log"), "sent", part("message").value);
});
show();
