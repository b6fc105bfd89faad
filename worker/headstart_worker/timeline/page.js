// Draws the panels whose data the page brings along, all on one scale of time, and lets a person ask about each compile.
// Nothing is loaded; times are seconds since a panel's start. What a compile's sentences say is decided in explain.py.
"use strict";

const panels = JSON.parse(document.getElementById("data").textContent);
const controls = document.forms.controls;
const told = document.getElementById("told");
const longest = Math.max(...panels.map((panel) => panel.wall), 1e-6);
const ROW = 16, BAR = 12, AXIS = 18, STRIP = 56, GAP = 26, GUTTER = 58, RIGHT = 12;

function element(name, attributes, parent, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function line(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

function step(span, most) {
  for (const size of [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800]) {
    if (span / size <= most) return size;
  }
  return 3600;
}

// One panel: `draw` makes it anew, `choose` tells about one compile and shows what it has to do with others.
function Panel(section, panel) {
  const jobs = panel.jobs, chart = section.querySelector(".chart");
  const rows = [...section.querySelectorAll("tbody tr")];
  const rowOf = new Map(rows.map((row) => [Number(row.dataset.job), row]));
  const gave = jobs.map(() => []);
  jobs.forEach((job, index) => job.waits.forEach((wait) => gave[wait.of].push({ ...wait, by: index })));
  let chosen = null, pinned = false, scale = 1, groups = [], overlay, moment, place;

  const x = (seconds) => GUTTER + seconds * scale;

  function visible(job) {
    const wanted = controls.find.value.trim().toLowerCase();
    return (!wanted || job.name.toLowerCase().includes(wanted)) && (!controls.path.checked || job.path);
  }

  function places() {
    if (controls.rows.value === "slots") {
      const slots = [...new Set(jobs.map((job) => job.slot))].sort((a, b) => a - b);
      return { count: slots.length, names: slots.map((slot) => "slot " + slot), of: jobs.map((job) => slots.indexOf(job.slot)) };
    }
    let count = 0;
    return { of: jobs.map((job) => (controls.path.checked && !job.path ? -1 : count++)), names: [], count };
  }

  function draw() {
    place = places();
    const width = Math.max(chart.clientWidth - 2, 300) * Number(controls.zoom.value);
    scale = (width - GUTTER - RIGHT) / longest;
    const bottom = AXIS + place.count * ROW, height = bottom + AXIS + panel.strips.length * (STRIP + GAP) + 4;
    const svg = element("svg", { width, height, role: "group", "aria-label": panel.title + ", " + jobs.length + " compiles" });
    grid(svg, width, bottom, height);
    groups = jobs.map((job, index) => (place.of[index] < 0 ? null : bar(svg, job, index)));
    if (!controls.find.value.trim()) path(element("g", {}, svg));
    overlay = element("g", {}, svg);
    jobs.forEach((job, index) => place.of[index] < 0 || label(svg, job, AXIS + place.of[index] * ROW, width));
    panel.strips.forEach((strip, index) => area(svg, strip, bottom + AXIS + 8 + index * (STRIP + GAP)));
    moment = element("line", { class: "moment", y1: AXIS, y2: height, x1: -9, x2: -9 }, svg);
    svg.addEventListener("pointermove", (event) => {
      const at = event.clientX - svg.getBoundingClientRect().x;
      moment.setAttribute("x1", at);
      moment.setAttribute("x2", at);
    });
    chart.replaceChildren(svg);
    const first = groups.find((group) => group);
    if (first) first.setAttribute("tabindex", "0");
    if (chosen !== null) choose(chosen);
    for (const row of rows) row.hidden = !visible(jobs[Number(row.dataset.job)]);
  }

  function grid(svg, width, bottom, height) {
    const size = step(longest, width / 70);
    for (let count = 0; count * size <= longest; count++) {
      const at = x(count * size), label = Number((count * size).toFixed(2)) + " s";
      element("line", { class: "grid", x1: at, x2: at, y1: AXIS - 4, y2: height }, svg);
      for (const y of [11, bottom + 13]) element("text", { class: "axis", x: at + 2, y }, svg, label);
    }
    place.names.forEach((name, row) => element("text", { x: 2, y: AXIS + row * ROW + 10 }, svg, name));
  }

  function bar(svg, job, index) {
    const y = AXIS + place.of[index] * ROW;
    const group = element("g", { class: "job", tabindex: "-1", role: "img", "aria-label": job.told[0] }, svg);
    if (!visible(job)) group.classList.add("faded");
    const span = (kind, start, end) => element("rect",
      { class: kind, x: x(start), y, width: Math.max((end - start) * scale, 0.75), height: BAR }, group);
    if (controls.rows.value === "jobs" && job.start > job.queued) {
      element("line", { class: "queue", x1: x(job.queued), x2: x(job.start), y1: y + BAR / 2, y2: y + BAR / 2 }, group);
    }
    if (job.failed) span("failed", job.start, job.end);
    else if (job.early === null) span("whole", job.start, job.end);
    else {
      span("early", job.start, job.early);
      span("codegen", job.early, job.end);
    }
    element("rect", { class: "frame", x: x(job.start), y, width: Math.max((job.end - job.start) * scale, 0.75), height: BAR }, group);
    group.addEventListener("pointerenter", () => pinned || choose(index));
    group.addEventListener("pointerleave", () => pinned || choose(null));
    group.addEventListener("focus", () => choose(index));
    group.addEventListener("blur", () => pinned || choose(null));
    group.addEventListener("click", () => pin(index));
    group.addEventListener("keydown", (event) => key(event, index));
    return group;
  }

  function label(svg, job, y, width) {
    const length = job.name.length * 6.2 + 6, inside = (job.end - job.start) * scale >= length;
    const byJobs = controls.rows.value === "jobs", right = x(job.end) + length < width;
    if (!inside && !byJobs) return;
    const at = inside ? x(job.start) + 4 : right ? x(job.end) + 4 : x(Math.min(job.queued, job.start)) - 4;
    const kind = (inside ? "inside" : "beside") + (visible(job) ? "" : " faded");
    element("text", { class: kind, x: at, y: y + 9.5, "text-anchor": inside || right ? "start" : "end" }, svg, job.name);
  }

  // Around the bars where each compile has a row of its own; below them where they stand close together.
  function path(parent) {
    const below = controls.rows.value === "slots" ? BAR + 2 : 0;
    panel.path.forEach((piece, number) => {
      const y = AXIS + place.of[piece.of] * ROW, width = Math.max((piece.end - piece.start) * scale, 1);
      if (below) element("path", { class: "on-path", d: `M${x(piece.start)} ${y + below}h${width}` }, parent);
      else element("rect", { class: "on-path", x: x(piece.start), y, width, height: BAR }, parent);
      const next = panel.path[number + 1];
      if (next) element("path", { class: "on-path", d: lead(piece.end, piece.of, next.start, next.of, below) }, parent);
    });
  }

  // From a moment of one compile down or up to another's row, and along it to that one's start.
  function lead(from, of, to, by, below = 0) {
    const first = AXIS + place.of[of] * ROW, second = AXIS + place.of[by] * ROW;
    if (below) return `M${x(from)} ${first + below}V${second + below}H${x(to)}`;
    return `M${x(from)} ${first + (first < second ? BAR : first > second ? 0 : BAR / 2)}V${second + BAR / 2}H${x(to)}`;
  }

  function area(svg, strip, top) {
    const most = Math.max(...strip.series.flatMap((one) => one.values), 1e-9);
    const y = (value) => top + STRIP - (value / most) * (STRIP - 2);
    for (const one of strip.series) {
      const points = one.values.map((value, at) => `${x((at / one.values.length) * panel.wall).toFixed(1)} ${y(value).toFixed(1)}`);
      element("path", { class: one.kind, d: `M${x(0)} ${y(0)}L${points.join("L")}L${x(panel.wall)} ${y(0)}Z` }, svg);
    }
    element("text", { x: 2, y: top + 9 }, svg, Math.round(most / strip.unit));
    element("text", { x: 2, y: top + STRIP }, svg, "0");
    element("text", { class: "axis", x: x(0) + 2, y: top + STRIP + 12 }, svg, strip.title);
  }

  function arrows(index) {
    const draw = (wait, by, kind) => {
      if (place.of[wait.of] < 0 || place.of[by] < 0) return;
      element("path", { class: "arrow" + kind + (wait.last ? " last" : ""), d: lead(wait.at, wait.of, jobs[by].start, by) }, overlay);
    };
    jobs[index].waits.forEach((wait) => draw(wait, index, ""));
    gave[index].forEach((wait) => draw(wait, wait.by, " gave"));
  }

  function choose(index) {
    if (chosen !== null) {
      groups[chosen]?.classList.remove("chosen");
      rowOf.get(chosen)?.classList.remove("chosen");
    }
    overlay.replaceChildren();
    chosen = index;
    told.hidden = index === null;
    if (index === null) return;
    groups[index]?.classList.add("chosen");
    rowOf.get(index)?.classList.add("chosen");
    if (groups[index]) arrows(index);
    const [first, ...rest] = jobs[index].told;
    told.replaceChildren(line("b", first), ...rest.map((sentence) => line("div", sentence)));
    const box = groups[index]?.getBoundingClientRect();
    told.classList.toggle("above", Boolean(box) && box.top > innerHeight / 2);
  }

  function pin(index) {
    pinned = !(pinned && chosen === index);
    choose(pinned ? index : null);
  }

  function key(event, index) {
    const there = groups.map((group, at) => (group ? at : -1)).filter((at) => at >= 0), at = there.indexOf(index);
    const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: there.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") pin(index);
    else if (event.key === "Escape") { pinned = false; choose(null); }
    else if (there[to] !== undefined) { pinned = false; focus(there[to]); }
    else return;
    event.preventDefault();
  }

  function focus(index) {
    for (const group of groups) group?.setAttribute("tabindex", "-1");
    groups[index]?.setAttribute("tabindex", "0");
    groups[index]?.focus();
  }

  for (const row of rows) {
    const index = Number(row.dataset.job);
    row.addEventListener("pointerenter", () => pinned || choose(index));
    row.addEventListener("pointerleave", () => pinned || choose(null));
    row.addEventListener("click", () => pin(index));
  }
  return { draw };
}

// A click on a column's head sorts by it, a second one the other way round. Numbers begin with the largest.
function sortable(table) {
  const heads = [...table.querySelectorAll("th")], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = column === 0 ? "ascending" : "descending", other = column === 0 ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const one of heads) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => (column === 0 ? row.cells[0].textContent : Number(row.cells[column].textContent || "-1"));
    const rows = [...body.rows].map((row) => [value(row), row]);
    rows.sort(([a], [b]) => sign * (column === 0 ? a.localeCompare(b) : a - b));
    body.append(...rows.map(([, row]) => row));
  }));
}

const drawn = [...document.querySelectorAll("section")].map((section, index) => Panel(section, panels[index]));
const draw = () => drawn.forEach((panel) => panel.draw());
document.querySelectorAll("table").forEach(sortable);
controls.addEventListener("input", draw);
controls.addEventListener("submit", (event) => event.preventDefault());
controls.scheme.addEventListener("change", () => {
  document.documentElement.style.colorScheme = controls.scheme.value;
});
// Tells the first width, too.
new ResizeObserver(draw).observe(document.querySelector("main"));
