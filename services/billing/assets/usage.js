// Draws the page of usage from the API that everybody has.
"use strict";

const { tenant, window: span, csrf } = document.body.dataset;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
document.getElementById("zone").textContent = zone;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const shapes = {
  hour: { hour: "2-digit", minute: "2-digit", weekday: "short" },
  day: { day: "numeric", month: "short", year: "numeric" },
  month: { month: "long", year: "numeric" },
};
const when = new Intl.DateTimeFormat(undefined, { ...shapes[span], timeZone: zone });

const marks = new Intl.DateTimeFormat(undefined, {
  ...{ hour: { hour: "2-digit", minute: "2-digit" }, day: { day: "numeric", month: "short" }, month: { month: "short", year: "numeric" } }[span],
  timeZone: zone,
});

// `users` of one, `deliveries` of one.
const one = (unit) => unit.replace(/ies$/, "y").replace(/s$/, "");

// Units that are read best by their thousands: how many bytes one of them is, and what follows.
const sizes = { bytes: [1, ""], "GB hours": [1e9, " hours"] };

// The table below a chart is exact.
function readable(value, unit) {
  let number = Number(value);
  if (unit in sizes) {
    const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    const [bytes, suffix] = sizes[unit];
    let step = 0;
    number *= bytes;
    while (Math.abs(number) >= 1000 && step < units.length - 1) (number /= 1000), (step += 1);
    const digits = number < 10 ? 1 : 0;
    return number.toLocaleString(undefined, { maximumFractionDigits: step ? digits : 0 }) + " " + units[step] + suffix;
  }
  const digits = Math.abs(number) < 1 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 2 };
  return number.toLocaleString(undefined, digits) + (unit ? " " + (number === 1 ? one(unit) : unit) : "");
}

for (const data of document.querySelectorAll("data[data-unit]")) {
  data.textContent = readable(data.value, data.dataset.unit);
}

function tip(unit, items) {
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  return {
    hooks: {
      init: (plot) => plot.over.append(box),
      setCursor: (plot) => {
        const at = plot.cursor.idx;
        box.hidden = at == null || plot.cursor.left < 0;
        if (box.hidden) return;
        box.textContent = when.format(new Date(items[at].from)) + ": " + readable(items[at].value, unit);
        const left = Math.min(plot.cursor.left + 10, plot.over.clientWidth - box.offsetWidth);
        box.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, plot.cursor.top - 30)}px)`;
      },
    },
  };
}

// 1, 2, 5, 10, 20, 50 and so on.
const steps = Array.from({ length: 48 }, (_, n) => [1, 2, 5][n % 3] * 10 ** Math.floor(n / 3));

function draw(place, unit, items) {
  const axis = { stroke: style("--muted"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line") } };
  const accent = style("--accent");
  // What is counted has no halves.
  const whole = !(unit in sizes) && items.every((item) => Number.isInteger(Number(item.value)));
  const ticks = (_, values) => values.map((value) => (unit in sizes && value ? readable(value, unit).replace(" hours", " h") : readable(value, "")));
  const longest = (_, values) => 16 + 7 * Math.max(5, ...(values ?? []).map((value) => value.length));
  const plot = new uPlot(
    {
      width: place.clientWidth,
      height: 190,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      // The last bar needs room, too.
      scales: { x: { range: (_, low) => [low, Date.parse(items.at(-1).to) / 1000] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, space: 80, size: 34, values: (_, times) => times.map((time) => marks.format(new Date(time * 1000))) },
        { ...axis, size: longest, values: ticks, ...(whole && { incrs: steps }) },
      ],
      series: [{}, { points: { show: false }, stroke: accent, fill: accent + "55", width: 1, paths: uPlot.paths.bars({ size: [0.8, 40], align: 1 }) }],
      plugins: [tip(unit, items)],
    },
    [items.map((item) => Date.parse(item.from) / 1000), items.map((item) => Number(item.value) || null)],
    place,
  );
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 190 })).observe(place);
}

async function show(card) {
  const { meter, unit, adds } = card.dataset;
  const query = new URLSearchParams({ meter, window: span, time_zone: zone });
  if (tenant) query.set("tenant", tenant);
  const sum = card.querySelector(".sum");
  try {
    const answer = await fetch("/v1/usage?" + query);
    if (answer.status === 401) return location.assign("/sign-in?next=/usage");
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(body.detail ?? "");
    const { items } = body;
    const values = items.map((item) => Number(item.value));
    const total = adds === "true" ? values.reduce((one, two) => one + two, 0) : (values.at(-1) ?? 0);
    sum.textContent = readable(total, unit);
    const note = document.createElement("span");
    note.className = "muted";
    note.textContent = " " + (adds === "true" ? "in all" : { hour: "this hour", day: "today", month: "this month" }[span]);
    sum.append(note);
    const place = card.querySelector(".plot");
    place.replaceChildren();
    if (values.some((value) => value !== 0)) draw(place, unit, items);
    else place.innerHTML = '<p class="nothing">Nothing yet</p>';
    const rows = items.map((item) => {
      const row = document.createElement("tr");
      const [time, value] = [document.createElement("td"), document.createElement("td")];
      time.textContent = when.format(new Date(item.from));
      value.textContent = item.value;
      value.className = "number";
      row.append(time, value);
      return row;
    });
    card.querySelector("tbody").replaceChildren(...rows.reverse());
    card.querySelector("details").hidden = false;
  } catch (problem) {
    const text = document.createElement("p");
    text.className = "problem";
    // What fetch itself says is for programmers.
    text.textContent = problem instanceof TypeError || !problem.message ? "This cannot be shown at the moment. " : problem.message + " ";
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Try again";
    again.addEventListener("click", () => show(card));
    text.append(again);
    sum.replaceChildren();
    card.querySelector(".plot").replaceChildren(text);
    card.querySelector("details").hidden = true;
  }
}

for (const card of document.querySelectorAll(".chart")) show(card);

for (const choice of document.querySelectorAll(".choices select, .choices input")) {
  choice.addEventListener("change", () => choice.form.requestSubmit());
}

document.getElementById("sign-out").addEventListener("click", async () => {
  await fetch("/api/auth/logout", { method: "POST", headers: { "X-CSRFToken": csrf } });
  location.assign("/sign-in");
});
