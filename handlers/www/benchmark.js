// The page of the benchmark: its settings, a plot of the series, and a table of all results.
"use strict";

const part = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const series = []; // { name, results: [{ length, messages, bytes, ms }] }
let stop = null; // while a series runs: what ends it

async function start() {
  const settings = {
    url: part("url").value.trim(),
    verify: part("verify").checked,
  };
  for (const name of ["sockets", "shortest", "longest", "bytes"]) settings[name] = Number(part(name).value);
  const place = part("place").value;
  let isStopped = false;
  part("start").disabled = true;
  part("stop").disabled = false;
  try {
    for (const direction of part("direction").value.split(" ")) {
      if (isStopped) break;
      const sockets = settings.sockets === 1 ? "1 socket" : `${settings.sockets} sockets`;
      const one = { name: `${direction}, ${place}, ${sockets}`, results: [] };
      series.push(one);
      const tell = (result) => {
        one.results.push(result);
        say(`${one.name}: ${result.length.toLocaleString("en")} bytes, ${speed(result).toFixed(1)} MB/s`);
        show();
      };
      const ended = place === "worker" ? inWorker : inWindow;
      const stopped = ended({ ...settings, direction }, tell);
      stop = () => {
        isStopped = true;
        stopped.stop();
      };
      await stopped.done;
    }
    say(isStopped ? "Stopped." : "Done.");
  } catch (error) {
    say(`Ended: ${error.message}. Is benchmark_helper_wsh served, and does the URL lead to it?`);
  }
  for (const one of series.filter((one) => one.results.length === 0)) series.splice(series.indexOf(one), 1);
  show();
  stop = null;
  part("start").disabled = false;
  part("stop").disabled = true;
}

function inWindow(settings, tell) {
  let isStopped = false;
  const done = runBenchmark(settings, tell, () => isStopped);
  return { done, stop: () => (isStopped = true) };
}

function inWorker(settings, tell) {
  const worker = new Worker("benchmark_run.js");
  const done = new Promise((resolve, reject) => {
    worker.onerror = () => reject(new Error("the worker failed"));
    worker.onmessage = ({ data }) => {
      if (data.result) tell(data.result);
      if (data.done) resolve();
      if (data.error) reject(new Error(data.error));
    };
    worker.postMessage(settings);
  });
  return { done: done.finally(() => worker.terminate()), stop: () => worker.postMessage("stop") };
}

// Megabytes a second.
function speed({ bytes, ms }) {
  return bytes / 1000 / Math.max(ms, 0.001);
}

function say(text) {
  part("status").textContent = text;
}

function show() {
  showPlot();
  part("legend").replaceChildren(...series.map((one, index) => {
    const item = document.createElement("li");
    item.className = `series-${index % COLOURS}`;
    item.append(one.name);
    return item;
  }));
  const rows = series.flatMap((one) => one.results.map((result) => {
    const row = document.createElement("tr");
    row.append(...cells(one, result).map((text, index) => {
      const cell = document.createElement(index === 0 ? "th" : "td");
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
  part("results").replaceChildren(...rows);
}

function showPlot() {
  part("plot").replaceChildren(plot());
}

function cells({ name }, result) {
  const numbers = [result.length, result.messages].map((number) => number.toLocaleString("en"));
  return [name, ...numbers, result.ms.toFixed(1), speed(result).toFixed(1)];
}

// The lengths go from left to right, each mark ten times the one before; the speeds from 0 upwards.
function plot() {
  const all = series.flatMap((one) => one.results);
  const width = Math.max(part("plot").clientWidth, 280);
  const [height, left, bottom, top, right] = [300, 48, 32, 12, 16];
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", all.length === 0 ? "Nothing measured yet" : "The results of the table, as lines");
  if (all.length === 0) {
    svg.append(label(width / 2, height / 2, "middle", "Nothing measured yet."));
    return svg;
  }
  const lengths = all.map((result) => Math.log10(result.length));
  const first = Math.floor(Math.min(...lengths));
  const last = Math.max(Math.ceil(Math.max(...lengths)), first + 1);
  const step = niceStep(Math.max(...all.map(speed)) / 5);
  const most = Math.ceil(Math.max(...all.map(speed)) / step) * step;
  const x = (length) => left + ((Math.log10(length) - first) / (last - first)) * (width - left - right);
  const y = (speed) => height - bottom - (speed / most) * (height - bottom - top);
  for (let mark = 0; mark <= most + step / 2; mark += step) {
    svg.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(mark), y2: y(mark) }));
    svg.append(label(left - 8, y(mark) + 4, "end", String(Number(mark.toPrecision(6)))));
  }
  for (let mark = first; mark <= last; mark++) {
    const at = x(10 ** mark);
    svg.append(shape("line", { class: "grid", x1: at, x2: at, y1: top, y2: height - bottom }));
    svg.append(label(at, height - bottom + 20, mark === last ? "end" : "middle", inWords(10 ** mark)));
  }
  series.forEach((one, index) => {
    const points = one.results.map((result) => [x(result.length), y(speed(result))]);
    const group = shape("g", { class: `series-${index % COLOURS}` });
    group.append(shape("polyline", { points: points.map((point) => point.join(",")).join(" ") }));
    one.results.forEach((result, at) => {
      const dot = shape("circle", { cx: points[at][0], cy: points[at][1], r: 4 });
      const title = shape("title", {});
      title.textContent = `${one.name}: ${result.length.toLocaleString("en")} bytes, ${speed(result).toFixed(1)} MB/s`;
      dot.append(title);
      group.append(dot);
    });
    svg.append(group);
  });
  return svg;
}

// The next of 1, 2, 5, 10, 20, …
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 0.001)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * 0.999);
}

function inWords(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 1e6) return `${bytes / 1e3} kB`;
  return bytes < 1e9 ? `${bytes / 1e6} MB` : `${bytes / 1e9} GB`;
}

function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function label(x, y, anchor, text) {
  const element = shape("text", { x, y, "text-anchor": anchor });
  element.textContent = text;
  return element;
}

// Lines of the style sheet; after so many series the colours begin again.
const COLOURS = 6;

part("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
part("stop").addEventListener("click", () => stop?.());
part("clear").addEventListener("click", () => {
  series.length = 0;
  say("Each series begins at the shortest length and doubles it.");
  show();
});
wsh.copies(part("copy"), () => {
  const rows = series.flatMap((one) => one.results.map((result) => {
    return [`"${one.name}"`, result.length, result.messages, result.ms.toFixed(3), speed(result).toFixed(3)];
  }));
  return [["series", "bytes", "messages", "ms", "MB/s"], ...rows].map((row) => row.join(",")).join("\n") + "\n";
});
window.addEventListener("resize", showPlot);
// A worker cannot be loaded by a page from a file.
if (wsh.isFile) part("place").querySelector("[value=worker]").disabled = true;
part("url").value = wsh.url(query.get("path") ?? "/benchmark_helper");
show();
