// Where the pictures go: the virtual camera, recordings, and what was named when the program was started.

import { act } from "/api.js";
import { choices } from "/choices.js";
import { $, attempt, button, make, pressed, text } from "/dom.js";

const STATES = { on: "on", off: "off", away: "away: it is opened again" };
const NAMES = { vcam: "Virtual camera", window: "Preview window" };
let state = {};
let running = false;

export function build() {
  const camera = button("Virtual camera", () => act("/outputs", { name: "vcam", on: state.outputs.vcam === "off" }),
    { id: "vcam", "aria-pressed": "false" });
  const sound = make("select", { id: "microphone" }, make("option", { value: "" }, "without sound"));
  const record = button("Record", () => act("/record", { on: !state.recording, microphone: sound.value || null }),
    { id: "record", "aria-pressed": "false" });
  $("outputs").append(
    make("li", {}, camera, make("span", { id: "vcam-state", class: "soft" })),
    make("li", {}, record, make("label", { class: "stack" }, "Sound", sound), make("span", { id: "record-state", class: "soft grow", role: "status" })),
    make("li", { id: "other-outputs", class: "soft", hidden: true }),
  );
}

async function fill() {
  const found = await attempt(choices);
  for (const name of found ? found.microphones : []) {
    $("microphone").append(make("option", { value: name }, name === "default" ? "the system's microphone" : name));
  }
}

export function update(whole, found) {
  state = whole;
  if ("running" in found && found.running && !running) fill();
  if ("running" in found) running = found.running;
  if ("outputs" in found) {
    pressed($("vcam"), found.outputs.vcam !== "off");
    text($("vcam-state"), STATES[found.outputs.vcam]);
    const others = Object.entries(found.outputs).filter(([name]) => name !== "vcam" && name !== "page");
    $("other-outputs").hidden = !others.length;
    text($("other-outputs"), others.map(([name, on]) => `${NAMES[name] || name}: ${STATES[on]}`).join(", "));
  }
  if ("recording" in found) {
    pressed($("record"), Boolean(found.recording));
    text($("record"), found.recording ? "End the recording" : "Record");
    text($("record-state"), found.recording ? `into ${found.recording}` : "");
  }
}
