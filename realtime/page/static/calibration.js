// A profile, learnt in a guided lesson before the camera. The picture is the driver's own, and only here.

import { act, pictures } from "/api.js";
import { choices, forget } from "/choices.js";
import { $, attempt, button, make, text } from "/dom.js";

let running = false;
let lesson = false;
let step = "";

function beep() { // eyes are shut: they cannot read
  const sound = new AudioContext();
  const tone = sound.createOscillator();
  tone.connect(sound.destination);
  tone.start();
  tone.stop(sound.currentTime + 0.3);
  tone.onended = () => sound.close();
}

async function fill() {
  const found = await attempt(choices);
  if (!found) return;
  $("lesson-camera").replaceChildren(...found.cameras.map((each) => make("option", { value: each.index }, each.name)));
  $("begin-lesson").disabled = !found.cameras.length;
  if (!found.cameras.length) text($("lesson-result"), "No camera is connected.");
}

async function watch() {
  const canvas = $("lesson-picture");
  try {
    await pictures("/calibration/picture", (bitmap) => {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      const context = canvas.getContext("2d");
      context.setTransform(-1, 0, 0, 1, canvas.width, 0);
      context.drawImage(bitmap, 0, 0);
      bitmap.close();
      canvas.dataset.pictures = String(Number(canvas.dataset.pictures || 0) + 1);
    });
  } catch { /* the lesson is over */ }
  canvas.getContext("2d").reset();
}

export function build() {
  const camera = make("select", { id: "lesson-camera" });
  const name = make("input", { type: "text", id: "lesson-name", value: "me", maxLength: 40 });
  const begin = button("Begin: 20 seconds", () => act("/calibration", { index: Number(camera.value), name: name.value }), { id: "begin-lesson" });
  $("calibration").append(
    make("p", { class: "soft" }, "Learns how your face rests and how far it goes. Your picture is shown here alone, while it lasts; others see the still photo."),
    make("div", { class: "line", id: "lesson-begin" }, make("label", { class: "stack" }, "Camera", camera), make("label", { class: "stack" }, "Name", name), begin),
    make("div", { id: "lesson", hidden: true },
      make("h3", { id: "lesson-prompt", "aria-live": "assertive" }),
      make("p", { id: "lesson-note", class: "ill" }),
      make("canvas", { id: "lesson-picture", width: 320, height: 240, role: "img", "aria-label": "You, as in a mirror: only here" }),
      make("label", { class: "stack" }, "Hold it", make("progress", { id: "lesson-holding", max: 1, value: 0 })),
      make("label", { class: "stack" }, "The whole", make("progress", { id: "lesson-progress", max: 1, value: 0 })),
      make("p", { id: "lesson-shown", class: "soft" }),
      button("Stop", () => act("/calibration/stop"), { id: "stop-lesson" })),
    make("p", { id: "lesson-result", role: "status" }),
  );
}

export function update(state, found) {
  if ("running" in found && found.running && !running) fill();
  if ("running" in found) running = found.running;
  if (!("calibration" in found) || !found.calibration) return;
  const now = found.calibration;
  $("lesson").hidden = !now.running;
  $("lesson-begin").hidden = now.running;
  if (now.running) {
    text($("lesson-prompt"), `${now.step ? `${now.step} of ${now.of}: ` : ""}${now.prompt}`);
    text($("lesson-note"), now.note || "");
    $("lesson-holding").value = now.holding || 0;
    $("lesson-progress").value = now.progress || 0;
    text($("lesson-shown"), Object.entries(now.shown || {}).map(([au, value]) => `${au} ${Math.round(value * 100)} %`).join(", "));
    if (step === "eyes" && now.name !== "eyes") beep();
    step = now.name || "";
    if (!lesson && state.acting) watch();
  } else if (lesson) {
    forget();
    fill();
  }
  lesson = now.running;
  text($("lesson-result"), now.result || "");
}
