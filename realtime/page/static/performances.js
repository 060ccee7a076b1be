// Performances: record, list with plots, play, loop, cut, a point dragged on the curve, download, draw on photos.

import { act, file, look, send } from "/api.js";
import { $, attempt, button, colour, drawn, make, pressed, question, tell, text } from "/dom.js";

const INKS = ["driver", "asked", "shown", "danger", "accent", "soft"];
const STEP = 0.05; // of a value, by a key
let state = {};
let running = false;
let open = null; // the performance that is edited
let list = null;

function saveAs(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function lines(canvas, plot, only, range) {
  const { context, width, height } = drawn(canvas);
  const times = plot.times_s;
  const x = (time) => (plot.duration_s ? (width * time) / plot.duration_s : 0);
  const y = (value) => height / 2 - (value * (height - 8)) / 2;
  if (range) {
    context.fillStyle = colour("line");
    context.fillRect(x(range[0]), 0, x(range[1]) - x(range[0]), height);
  }
  context.strokeStyle = colour("line");
  context.beginPath();
  context.moveTo(0, y(0));
  context.lineTo(width, y(0));
  context.stroke();
  Object.entries(plot.aus).forEach(([name, values], number) => {
    const chosen = !only || only === name;
    context.globalAlpha = chosen ? 1 : 0.25;
    context.strokeStyle = colour(INKS[number % INKS.length]);
    context.lineWidth = chosen && only ? 2.5 : 1.2;
    context.beginPath();
    values.forEach((value, place) => (place ? context.lineTo(x(times[place]), y(value)) : context.moveTo(0, y(value))));
    context.stroke();
  });
  context.globalAlpha = 1;
  return { width, height, time: (at) => (plot.duration_s * at) / width, value: (at) => (2 * (height / 2 - at)) / (height - 8), x, y };
}

function row(found) {
  const canvas = make("canvas", { class: "thumb-curve", role: "img", "aria-label": `${found.name}: its most active units` });
  const item = make("li", { id: `performance-${found.number}` }, canvas,
    make("span", { class: "grow" }, found.name, make("br"), make("span", { class: "soft" }, `${found.plot.duration_s.toFixed(1)} s${found.ships ? ", ships" : ""}`)),
    button("Play", () => act("/performances/play", { number: found.number, loop: false }), { "aria-label": `Play ${found.name}` }),
    button("Loop", () => act("/performances/play", { number: found.number, loop: true }), { "aria-label": `Loop ${found.name}` }),
    button("Edit …", () => edit(found.number), { "aria-label": `Edit ${found.name}` }));
  requestAnimationFrame(() => lines(canvas, found.plot));
  return item;
}

async function fill() {
  const found = await attempt(() => look("/performances"));
  const told = JSON.stringify(found);
  if (!found || told === list.dataset.told) return; // a row that is pressed stays in its place
  list.dataset.told = told;
  list.replaceChildren(...found.performances.map(row));
}

async function edit(number) {
  const found = await look(`/performances/curve?number=${number}`);
  open = { number, found, from: 0, to: found.duration_s, time: found.duration_s / 2 };
  const canvas = make("canvas", { class: "curve", tabIndex: 0, id: "curve", role: "application",
    "aria-label": "The curve: arrows left and right choose a moment, up and down move the point" });
  const au = make("select", { id: "curve-au", onchange: () => redraw() }, ...Object.keys(found.aus).map((name) => make("option", { value: name }, name)));
  const width = make("select", { id: "curve-width" }, ...[["0.15", "a blink"], ["0.5", "half a second"], ["1.5", "widely"]].map(([value, label]) => make("option", { value, selected: value === "0.5" }, label)));
  const from = make("input", { type: "number", id: "cut-from", min: 0, step: 0.1, value: 0 });
  const to = make("input", { type: "number", id: "cut-to", min: 0, step: 0.1, value: found.duration_s.toFixed(1) });
  const note = make("p", { class: "soft", id: "curve-note", role: "status" });
  Object.assign(open, { canvas, au, width, note, cutFrom: from, cutTo: to });
  for (const input of [from, to]) input.addEventListener("input", redraw);
  canvas.addEventListener("pointerdown", dragStart);
  canvas.addEventListener("keydown", onKey);
  const editor = $("editor");
  editor.replaceChildren(
    make("h3", {}, found.name), canvas, note,
    make("div", { class: "line" }, make("label", { class: "stack" }, "Action unit", au), make("label", { class: "stack" }, "How far a point reaches", width),
      button("Undo", () => change("/performances/undo", {}), { id: "undo" })),
    make("div", { class: "line" }, make("label", { class: "stack" }, "From, s", from), make("label", { class: "stack" }, "To, s", to),
      button("Keep this part", async () => {
        await act("/performances/cut", { number: open.number, from_s: Number(from.value), to_s: Number(to.value) });
        await fill();
        tell("The part is kept as a performance of its own.");
      }, { id: "cut" })),
    make("div", { class: "line" },
      button("Download", async () => saveAs(await file(`/performances/file?number=${open.number}`), `${open.found.name}.csv`), { id: "download" }),
      button("Draw on photos …", () => draw(open.number), { id: "draw" }),
      button("Delete", async () => {
        if (open.found.ships || await question(`Delete ${open.found.name}?`, [], [["yes", "Delete", "main"], ["", "Keep", "quiet"]]) !== "yes") return;
        await act("/performances/remove", { number: open.number });
        close();
        await fill();
      }, { id: "delete", disabled: found.ships, class: "quiet" }),
      button("Close", close, { class: "quiet" })),
  );
  editor.hidden = false;
  redraw();
  canvas.focus();
}

function close() {
  open = null;
  $("editor").hidden = true;
}

function valueAt(name, time) {
  const { aus: { [name]: values = [] }, times_s: times } = open.found;
  const after = times.findIndex((each) => each >= time);
  if (after <= 0) return values[after < 0 ? values.length - 1 : 0] || 0;
  const share = (time - times[after - 1]) / (times[after] - times[after - 1]);
  return values[after - 1] + share * (values[after] - values[after - 1]);
}

function redraw(preview) {
  if (!open) return null;
  const name = open.au.value;
  const scale = lines(open.canvas, open.found, name, [Number(open.cutFrom.value), Number(open.cutTo.value)]);
  const value = typeof preview === "number" ? preview : valueAt(name, open.time);
  const context = open.canvas.getContext("2d");
  context.fillStyle = colour("ink");
  context.beginPath();
  context.arc(scale.x(open.time), scale.y(value), 6, 0, 7);
  context.fill();
  text(open.note, `${name} at ${open.time.toFixed(2)} s: ${value.toFixed(2)}`);
  return { scale, value };
}

// Changes are made one after the other: a key that is held sends many.
let changes = Promise.resolve();

function change(path, more) {
  changes = changes.then(() => open && attempt(() => makeChange(path, more)));
}

async function makeChange(path, more) {
  const kept = await act(path, { number: open.number, ...more });
  if (!open) return;
  if (kept.number === open.number) {
    const found = await look(`/performances/curve?number=${kept.number}`);
    if (open && open.number === kept.number) open.found = found;
    redraw();
    return fill();
  }
  const { time, au: { value: au }, width: { value: width } } = open;
  await fill();
  await edit(kept.number);
  open.time = time;
  open.width.value = width;
  open.au.value = [...open.au.options].some((each) => each.value === au) ? au : open.au.value;
  redraw();
  tell(`What ships stays as it is: ${kept.name} is your copy.`);
}

const bend = (how) => change("/performances/bend", { au: open.au.value, time_s: open.time, width_s: Number(open.width.value), ...how });

function dragStart(event) {
  const { scale } = redraw();
  const box = open.canvas.getBoundingClientRect();
  const at = (each) => [each.clientX - box.left, each.clientY - box.top];
  open.time = Math.max(0, Math.min(open.found.duration_s, scale.time(at(event)[0])));
  open.canvas.setPointerCapture(event.pointerId);
  let value = null;
  const move = (each) => {
    value = Math.max(-1, Math.min(1, scale.value(at(each)[1])));
    redraw(value);
  };
  open.canvas.addEventListener("pointermove", move);
  open.canvas.addEventListener("pointerup", () => {
    open.canvas.removeEventListener("pointermove", move);
    if (value === null) redraw(); else bend({ value });
  }, { once: true });
  redraw();
}

function onKey(event) {
  const moves = { ArrowLeft: -0.1, ArrowRight: 0.1 };
  const steps = { ArrowUp: STEP, ArrowDown: -STEP };
  if (event.key in moves) {
    open.time = Math.max(0, Math.min(open.found.duration_s, open.time + moves[event.key]));
    redraw();
  } else if (event.key in steps) bend({ by: steps[event.key] });
  else return;
  event.preventDefault();
}

async function draw(number) {
  const boxes = state.photos.shelf.filter((photo) => photo.answered).map((photo) => {
    const chosen = button(photo.name, () => pressed(chosen, chosen.getAttribute("aria-pressed") !== "true"), { "aria-pressed": String(photo.number === state.photos.shown) });
    return { chosen, photo };
  });
  const answer = await question("Draw a video of each of these photos", [make("div", { class: "choices" }, ...boxes.map((each) => each.chosen)),
    make("p", { class: "soft" }, "It is drawn beside the call, with a low priority.")], [["draw", "Draw", "main"], ["", "Cancel", "quiet"]]);
  const photos = boxes.filter((each) => each.chosen.getAttribute("aria-pressed") === "true").map((each) => each.photo.number);
  if (answer === "draw") await act("/performances/draw", { number, photos });
}

function showDrawing(drawing) {
  const place = $("drawing");
  place.hidden = !drawing;
  if (!drawing) return;
  const share = (drawing.done + (drawing.running ? drawing.share : 0)) / drawing.of;
  const bar = $("drawing-bar");
  bar.value = drawing.running ? share : drawing.videos.length / drawing.of;
  bar.setAttribute("aria-valuetext", `${Math.round(share * 100)} %`);
  text($("drawing-now"), drawing.fault || (drawing.running ? `${drawing.done} of ${drawing.of} videos are drawn` : `${drawing.videos.length} of ${drawing.of} videos, in ${drawing.folder}`));
  $("stop-drawing").hidden = !drawing.running;
  $("videos").replaceChildren(...drawing.videos.map((name, number) => make("li", {}, make("span", { class: "grow" }, name),
    button("Download", async () => saveAs(await file(`/performances/video?number=${number}`), name), { "aria-label": `Download ${name}` }))));
}

export function build() {
  const curve = make("input", { type: "file", class: "file", id: "curve-file", accept: ".csv,.json" });
  curve.addEventListener("change", async () => {
    const [found] = curve.files;
    curve.value = "";
    if (found && await attempt(() => send("/performances/add", found))) await fill();
  });
  list = make("ul", { class: "rows", id: "performance-list" });
  $("performances").append(
    make("div", { class: "line" },
      button("Record a performance", async () => {
        const taking = Boolean(state.taking);
        await act("/performances/record", { on: !taking });
        if (taking) await fill();
      }, { id: "take", "aria-pressed": "false" }),
      button("Back to the driver before", () => act("/performances/stop"), { id: "stop-performance" }),
      make("label", { class: "button", for: "curve-file" }, "Add a file"), curve),
    make("p", { id: "taking", class: "soft", role: "status" }),
    make("div", { id: "editor", hidden: true }),
    make("div", { id: "drawing", hidden: true }, make("h3", {}, "Drawing"), make("progress", { id: "drawing-bar", max: 1, value: 0, "aria-label": "Drawing videos" }),
      make("p", { id: "drawing-now", role: "status" }), button("Stop drawing", () => act("/performances/draw/stop"), { id: "stop-drawing" }), make("ul", { class: "rows", id: "videos" })),
    list);
}

export function update(whole, found) {
  state = whole;
  if ("running" in found && found.running && !running) fill();
  if ("running" in found) running = found.running;
  if ("taking" in found) {
    pressed($("take"), Boolean(found.taking));
    text($("take"), found.taking ? "End the recording of the performance" : "Record a performance");
    text($("taking"), found.taking ? `${found.taking} is recorded` : "");
  }
  if ("drawing" in found) showDrawing(found.drawing);
}
