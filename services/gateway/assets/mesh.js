// Keeps the page of the mesh up to date from /mesh/live.
"use strict";

const KEPT = 80;
const KEPT_WAYS = 12;
const list = document.getElementById("events");
const ways = document.getElementById("ways");
const link = document.getElementById("link");
const filter = document.getElementById("filter");
const pause = document.getElementById("pause");
// Milliseconds between two looks at what has come.
const PAUSE = 80;
const still = matchMedia("(prefers-reduced-motion: reduce)");

function show(state, text) {
  link.className = "link " + state;
  link.textContent = text;
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

// Exchanges the parts that differ; whoever is about to press a button keeps the focus.
function exchange(html) {
  for (const fresh of parse(html).querySelectorAll("[data-part]")) {
    const present = document.getElementById(fresh.id);
    if (!present || present.outerHTML === fresh.outerHTML) continue;
    const focused = present.contains(document.activeElement) ? document.activeElement.id : "";
    present.replaceWith(fresh);
    if (fresh.id === "parked") htmx.process(fresh);
    if (focused) document.getElementById(focused)?.focus();
  }
  document.title = document.querySelector("#headline h1").textContent + " · Annomesh";
}

function matches(item) {
  const text = filter.value.trim().toLowerCase();
  return !text || item.textContent.toLowerCase().includes(text);
}

// Puts a bundle of events into the list. What is measured is measured once: each look at the layout costs.
function put(bundle) {
  const scrolled = list.scrollTop;
  const height = scrolled > 0 ? list.scrollHeight : 0;
  const sources = new Set();
  let left = bundle.size;
  for (const [id, html] of bundle) {
    const present = document.getElementById(id);
    // In a burst most would be pushed out by those that follow.
    if (!present && left-- > KEPT) continue;
    const item = parse(html).firstElementChild;
    item.hidden = !matches(item);
    if (present) {
      item.querySelector("details").open = present.querySelector("details").open;
      const focused = present.contains(document.activeElement);
      present.replaceWith(item);
      if (focused) item.querySelector("summary").focus();
      continue;
    }
    list.prepend(item);
    if ("fresh" in item.dataset) {
      item.classList.add("new");
      sources.add(item.dataset.from);
    }
  }
  while (list.children.length > KEPT) list.lastElementChild.remove();
  // Whoever has scrolled down goes on reading where they were.
  if (scrolled > 0) list.scrollTop = scrolled + list.scrollHeight - height;
  sources.forEach(pulse);
}

// A task's way grows in its place; a new one is put where its beginning says.
function putWay(html) {
  const item = parse(html).firstElementChild;
  const present = document.getElementById(item.id);
  if (present) {
    if (present.outerHTML !== item.outerHTML) present.replaceWith(item);
    return;
  }
  const older = [...ways.children].find((other) => Number(other.dataset.begun) < Number(item.dataset.begun));
  ways.insertBefore(item, older ?? null);
  while (ways.children.length > KEPT_WAYS) ways.lastElementChild.remove();
}

// One pulse along each arrow from the log that has grown.
function pulse(from) {
  if (still.matches || document.hidden) return;
  for (const picture of document.querySelectorAll(".picture")) {
    const layer = picture.querySelector(".pulses");
    if (!picture.checkVisibility() || layer.children.length > 24) continue;
    for (const path of picture.querySelectorAll(".arrow path")) {
      if (path.dataset.from !== from) continue;
      const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      circle.setAttribute("r", "5");
      layer.append(circle);
      run(circle, path);
    }
  }
}

function run(circle, path) {
  const length = path.getTotalLength();
  const begin = performance.now();
  const step = (now) => {
    const part = Math.min(1, (now - begin) / 650);
    const point = path.getPointAtLength(length * part);
    circle.setAttribute("cx", point.x);
    circle.setAttribute("cy", point.y);
    if (part < 1) requestAnimationFrame(step);
    else circle.remove();
  };
  step(begin);
}

const isPaused = () => pause.getAttribute("aria-pressed") === "true";

// Whatever comes is shown a few times a second, each event and way once, however much comes.
let due = 0;
const waiting = { mesh: "", ways: new Map(), events: new Map() };

function arrive(kind, html) {
  if (kind === "mesh") waiting.mesh = html;
  else waiting[kind].set(html.match(/id="([^"]*)"/)[1], html);
  due ||= setTimeout(catchUp, PAUSE);
}

function catchUp() {
  due = 0;
  if (waiting.mesh) exchange(waiting.mesh);
  waiting.mesh = "";
  waiting.ways.forEach(putWay);
  waiting.ways.clear();
  if (isPaused()) {
    // Only those that the list has room for.
    const extra = waiting.events.size - KEPT;
    if (extra > 0) [...waiting.events.keys()].slice(0, extra).forEach((id) => waiting.events.delete(id));
    pause.textContent = waiting.events.size ? "Go on (" + waiting.events.size + ")" : "Go on";
  } else if (waiting.events.size) {
    put(waiting.events);
    waiting.events.clear();
  }
}

pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", String(!isPaused()));
  pause.textContent = isPaused() ? "Go on" : "Pause";
  catchUp();
});

filter.addEventListener("input", () => {
  for (const item of list.children) item.hidden = !matches(item);
});

document.getElementById("sign-out").addEventListener("click", async () => {
  await fetch("/api/auth/logout", { method: "POST", headers: { "X-CSRFToken": document.body.dataset.csrf } });
  location.assign("/sign-in");
});

function connect() {
  const source = new EventSource("/mesh/live");
  source.addEventListener("open", () => show("live", "live"));
  source.addEventListener("mesh", (event) => arrive("mesh", event.data));
  source.addEventListener("way", (event) => arrive("ways", event.data));
  source.addEventListener("event", (event) => arrive("events", event.data));
  source.addEventListener("error", async () => {
    show("lost", "reconnecting …");
    if (source.readyState !== EventSource.CLOSED) return;
    // The server said no; the page itself says why.
    const answer = await fetch("/mesh/status").catch(() => null);
    if (answer && (answer.status === 401 || answer.status === 403)) location.reload();
    else setTimeout(connect, 2000);
  });
}

connect();
