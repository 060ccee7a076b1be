// How the driver moves the puppet: strength, head, gaze, groups, sides, idle life.

import { act } from "/api.js";
import { $, attempt, button, make, pressed, text } from "/dom.js";

const DIALS = [["strength", "Strength", 2], ["head", "Head", 1.5], ["gaze", "Gaze", 1.5]];
const GROUPS = ["brows", "eyes", "mouth", "head", "gaze"];
const held = {}; // dials that are being moved: what the program says meanwhile is older
const waiting = {};

/** Sends the newest value of a setting, one request at a time. */
export async function change(settings) {
  Object.assign(waiting, settings);
  if (change.busy) return;
  change.busy = true;
  try {
    while (Object.keys(waiting).length) {
      const next = { ...waiting };
      for (const name of Object.keys(next)) delete waiting[name];
      await attempt(() => act("/settings", next));
    }
  } finally {
    change.busy = false;
  }
}

export function build() {
  for (const [name, label, most] of DIALS) {
    const output = make("output", { id: `${name}-value` });
    const input = make("input", {
      type: "range", id: `dial-${name}`, min: 0, max: most, step: 0.05,
      oninput: () => {
        held[name] = performance.now();
        show(input, output, Number(input.value));
        change({ [name]: Number(input.value) });
      },
    });
    $("dials").append(make("div", { class: "dial" }, make("label", { for: input.id }, label), input, output));
  }
  GROUPS.forEach((group, number) => { // by their keys: what is toggled is what the program has now, not what is seen
    $("groups").append(button(group, () => act("/key", { key: String(number + 1) }),
      { id: `group-${group}`, "aria-pressed": "true" }));
  });
  for (const [name, label] of [["idle", "idle life"], ["symmetric", "both sides alike"]]) {
    const found = button(label, async () => {
      const on = found.getAttribute("aria-pressed") !== "true";
      await act("/settings", { [name]: on });
      pressed(found, on);
    }, { id: `switch-${name}`, "aria-pressed": "false" });
    $("groups").append(found);
  }
}

function show(input, output, value) {
  const share = `${Math.round(value * 100)} %`;
  text(output, share);
  input.setAttribute("aria-valuetext", share);
}

export function update(settings) {
  for (const [name] of DIALS) {
    if (performance.now() - (held[name] || 0) < 1000) continue;
    const input = $(`dial-${name}`);
    if (Number(input.value) !== settings[name]) input.value = settings[name];
    show(input, $(`${name}-value`), settings[name]);
  }
  for (const group of GROUPS) pressed($(`group-${group}`), settings.groups.includes(group));
  pressed($("switch-idle"), settings.idle);
  pressed($("switch-symmetric"), settings.symmetric);
}
