// Keeps the page of the mesh up to date from /mesh/live.
"use strict";

const KEPT = 80;
const KEPT_WAYS = 12;
const list = document.getElementById("events");
const ways = document.getElementById("ways");
const link = document.getElementById("link");
const filter = document.getElementById("filter");
const pause = document.getElementById("pause");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let held = [];

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

function put(html) {
  const item = parse(html).firstElementChild;
  const present = document.getElementById(item.id);
  item.hidden = !matches(item);
  if (present) {
    item.querySelector("details").open = present.querySelector("details").open;
    const focused = present.contains(document.activeElement);
    present.replaceWith(item);
    if (focused) item.querySelector("summary").focus();
    return;
  }
  const top = list.scrollTop;
  const height = list.scrollHeight;
  list.prepend(item);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  // Whoever has scrolled down goes on reading where they were.
  if (top > 0) list.scrollTop = top + list.scrollHeight - height;
  if ("fresh" in item.dataset) {
    item.classList.add("new");
    pulse(item.dataset.from);
  }
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

function arrive(html) {
  if (pause.getAttribute("aria-pressed") === "true") {
    held.push(html);
    if (held.length > 4 * KEPT) held.shift();
    pause.textContent = "Go on (" + held.length + ")";
  } else {
    put(html);
  }
}

pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  if (!paused) held.splice(0).forEach(put);
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
  source.addEventListener("mesh", (event) => exchange(event.data));
  source.addEventListener("way", (event) => putWay(event.data));
  source.addEventListener("event", (event) => arrive(event.data));
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
