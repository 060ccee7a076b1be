// Action units: what the driver does, what is asked, what is shown; a gain for each. Presets.

import { act } from "/api.js";
import { choices, forget } from "/choices.js";
import { change } from "/dials.js";
import { $, attempt, button, colour, drawn, make, question, tell, text } from "/dom.js";

const SIGNED = [["turn", "AU51", "AU52"], ["nod", "AU53", "AU54"], ["tilt", "AU55", "AU56"], ["near", "AU57", "AU58"], ["look", "AU61", "AU62"], ["look up", "AU63", "AU64"]];
const held = {};
let rows = [];
let running = false;

const whole = (name) => name.replace(/[RL]$/, "");

async function fill() {
  const found = await attempt(choices);
  if (!found) return;
  fillPresets(found.presets);
  const places = new Map(found.aus.map((au, place) => [au.name, place]));
  const sides = new Map();
  for (const au of found.aus.slice(0, places.get("AU51"))) {
    const name = whole(au.name);
    if (!sides.has(name)) sides.set(name, { meaning: au.meaning.replace(/, (right|left)$/, ""), of: [] });
    sides.get(name).of.push(places.get(au.name));
  }
  rows = [...sides].map(([name, { meaning, of }]) => gainRow(name, meaning, (values) => of.reduce((sum, at) => sum + values[at], 0) / of.length));
  rows.push(...SIGNED.map(([name, plus, minus]) => bars(name, "from the middle", (values) => values[places.get(plus)] - values[places.get(minus)], true)));
  $("aus").replaceChildren(...rows.map((row) => row.item));
}

function bars(name, meaning, value, signed, ...more) {
  const canvas = make("canvas", { role: "img", "aria-label": `${name}, ${meaning}` });
  const label = make("span", { title: meaning }, name);
  return { name, canvas, value, signed, item: make("div", { class: "au", title: meaning }, label, canvas, ...more) };
}

function gainRow(name, meaning, value) {
  const output = make("output", {}, "× 1.0");
  const input = make("input", {
    type: "range", min: 0, max: 3, step: 0.1, value: 1, id: `gain-${name}`, "aria-label": `Gain of ${name}, ${meaning}`,
    oninput: () => {
      held[name] = performance.now();
      text(output, `× ${Number(input.value).toFixed(1)}`);
      change({ [name]: { gain: Number(input.value) } });
    },
  });
  return { ...bars(name, meaning, value, false, input, output), input, output };
}

function draw(row, state) {
  const { context, width, height } = drawn(row.canvas);
  const start = row.signed ? width / 2 : 0;
  const room = row.signed ? width / 2 : width;
  context.fillStyle = colour("field");
  context.fillRect(0, 0, width, height);
  ["driver", "asked", "shown"].forEach((name, number) => {
    if (!state.bars[name]) return;
    const value = Math.max(row.signed ? -1 : 0, Math.min(1, row.value(state.bars[name])));
    context.fillStyle = colour(name);
    context.fillRect(Math.min(start, start + value * room), (height * number) / 3 + 1, Math.abs(value) * room, height / 3 - 2);
  });
}

function fillPresets(presets) {
  const choice = make("select", { id: "preset" },
    ...presets.saved.map((name) => make("option", { value: name }, name)),
    ...presets.shipped.map((name) => make("option", { value: name }, `${name} (ships)`)));
  $("presets").replaceChildren(make("div", { class: "line" }, make("label", { class: "stack" }, "Preset", choice),
    button("Use", () => act("/presets/use", { name: choice.value }), { id: "use-preset" }),
    button("Save as …", save, { id: "save-preset" })));
}

async function save() {
  const name = make("input", { type: "text", id: "preset-name", maxLength: 40, "aria-label": "Name of the preset" });
  if (await question("Save these settings as a preset", [name], [["save", "Save", "main"], ["", "Cancel", "quiet"]]) !== "save") return;
  await act("/presets/save", { name: name.value });
  tell(`Saved: --preset ${name.value} takes it as well.`);
  forget();
  fillPresets((await choices()).presets);
  $("preset").value = name.value;
}

export function build() {}

export function update(state, found) {
  if ("running" in found && found.running && !running) fill();
  if ("running" in found) running = found.running;
  if ("bars" in found && $("more").open) for (const row of rows) draw(row, state);
  if ("settings" in found) {
    for (const row of rows) {
      if (!row.input || performance.now() - (held[row.name] || 0) < 1000) continue;
      const gain = found.settings.gains[row.name] ?? 1;
      row.input.value = gain;
      text(row.output, `× ${gain.toFixed(1)}`);
    }
  }
}
