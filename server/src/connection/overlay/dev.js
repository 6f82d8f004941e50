// Put into every page by `wshd dev`: shows what the compiler found wrong, until it builds again, and loads
// the page anew when its files were saved.
"use strict";
(() => {
  const { pages } = document.currentScript.dataset;
  const host = document.createElement("wshd-dev");
  // A tree of its own: neither side's style sheets reach the other's elements.
  const root = host.attachShadow({ mode: "open" });
  // Not a style element, which the page's content policy might forbid.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { all: initial; }
    section {
      position: fixed; z-index: 2147483647; inset: auto 0 0 0; max-height: 70vh; overflow: auto;
      box-sizing: border-box; padding: 12px 16px; border-top: 3px solid #e5484d;
      color-scheme: dark; background: #1b1315; color: #f4e9ea; font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace;
    }
    h2 { margin: 0 32px 8px 0; font: inherit; font-weight: bold; color: #ff9592; }
    pre { margin: 0 0 12px; font: inherit; white-space: pre; overflow-x: auto; }
    button { border: 1px solid #6b4a4d; border-radius: 4px; background: #1b1315; color: inherit; font: inherit; cursor: pointer; }
    button:hover, button:focus-visible { border-color: currentColor; }
    .hide { position: sticky; top: 0; float: right; padding: 2px 8px; }
    .place { padding: 0 3px; border-style: dotted; color: #ffd1ce; user-select: text; }
    .copied::after { content: " copied"; color: #9be29b; }
  `);
  root.adoptedStyleSheets = [sheet];

  const element = (name, text, ...children) => {
    const made = document.createElement(name);
    if (text) made.textContent = text; // what a compiler quotes is text, whatever it looks like
    made.append(...children);
    return made;
  };

  // A compiler's output, in which each `src/lib.rs:12:5` is a button that copies it.
  function withPlaces(text) {
    const parts = text.split(/((?:[\w.@+~-]*\/)*[\w.@+~-]+\.[a-z]{1,4}:\d+(?::\d+)?)/);
    return parts.map((part, index) => {
      if (index % 2 === 0) return part;
      const place = element("button", part);
      place.className = "place";
      place.title = "copy";
      place.addEventListener("click", () => copy(place));
      return place;
    });
  }

  async function copy(place) {
    try {
      await navigator.clipboard.writeText(place.textContent);
      place.classList.add("copied");
      setTimeout(() => place.classList.remove("copied"), 1500);
    } catch {
      // Only pages of https and of this machine may write to the clipboard. A selection can be copied by hand.
      getSelection().selectAllChildren(place);
    }
  }

  // It scrolls sideways, by the keyboard too: code that is wrapped cannot be read.
  function report(text) {
    const report = element("pre", "", ...withPlaces(text));
    report.tabIndex = 0;
    return report;
  }

  function hideOnEscape(event) {
    if (event.key === "Escape" && host.isConnected) host.remove();
  }

  function show(failures) {
    if (failures.length === 0) {
      host.remove();
      return;
    }
    const hide = element("button", "hide");
    hide.className = "hide";
    hide.title = "Escape";
    hide.addEventListener("click", () => host.remove());
    const parts = failures.flatMap(({ name, text }) => [element("h2", `${name} does not build`), report(text)]);
    const section = element("section", "", hide, ...parts);
    section.setAttribute("role", "alert");
    root.replaceChildren(section);
    document.documentElement.append(host);
  }

  // A browser opens six connections to one server, for all of its tabs: only one that is seen needs one.
  let events = null;
  function listen() {
    if (document.hidden) {
      events?.close();
      events = null;
    } else if (!events) {
      events = new EventSource("/.wshd/dev");
      events.addEventListener("message", ({ data }) => show(JSON.parse(data)));
      events.addEventListener("pages", ({ data }) => {
        if (data !== pages) location.reload();
      });
    }
  }
  document.addEventListener("keydown", hideOnEscape);
  document.addEventListener("visibilitychange", listen);
  listen();
})();
