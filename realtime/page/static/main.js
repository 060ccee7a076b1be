// The page: joins its parts, follows the program's state, and hands keys on.

import { act, lines, logIn } from "/api.js";
import * as aus from "/aus.js";
import * as calibration from "/calibration.js";
import * as dials from "/dials.js";
import { $, attempt, make, pressed, text } from "/dom.js";
import { mirrored, setBadge, setMirror, watch } from "/live.js";
import * as drivers from "/drivers.js";
import * as outputs from "/outputs.js";
import * as performances from "/performances.js";
import * as photos from "/photos.js";
import * as plot from "/plot.js";

const AGAIN_MS = 1000;
const KEYS = "pc+=-12345nr"; // that mean the same here as in the preview's window
const state = {};
const parts = [drivers, outputs, aus, performances, calibration];

function panic(on) {
  state.panic = on; // so that a second press within a moment takes it back
  pressed($("panic"), on);
  return attempt(() => act("/panic", { on }));
}

const press = (key) => attempt(() => act("/key", { key }));

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("dialog").open) return;
  const target = event.target;
  if (target.matches("input[type=text], input[type=number], textarea")) return;
  if (event.key === " " || event.key === "Escape") {
    event.preventDefault(); // a button that has the focus is pressed by Enter
    event.stopPropagation();
    panic(!state.panic);
  } else if (event.key === "m") {
    setMirror(!mirrored());
  } else if (KEYS.includes(event.key) && !target.matches("select, input[type=range]")) {
    press(event.key);
  }
}

function show(found) {
  Object.assign(state, found);
  if ("running" in found) text($("state"), found.running ? "Live" : "The puppet is being prepared …");
  if ("acting" in found) $("look-on").hidden = found.acting;
  if ("panic" in found) pressed($("panic"), found.panic);
  if ("paused" in found) pressed($("pause"), found.paused);
  if ("driver" in found) {
    const face = $("face");
    text(face, state.driver.chosen ? state.driver.face : "nobody drives");
    face.className = state.driver.well ? "well" : "ill";
  }
  if ("badge" in found) {
    setBadge(found.badge);
  }
  if ("figures" in found) {
    text($("rate"), state.figures.rate.toFixed(0));
    text($("delay"), `${state.figures.delay_ms.toFixed(0)} ms, 95 %: ${state.figures.delay_p95_ms.toFixed(0)} ms`);
    $("state").title = state.figures.engine;
  }
  if (state.figures) {
    plot.add(state.figures);
    plot.plot($("plot"));
  }
  if ("notes" in found) $("notes").replaceChildren(...found.notes.map((note) => make("li", {}, note)));
  if ("settings" in found) dials.update(found.settings);
  if ("photos" in found) photos.update(found.photos);
  if (state.photos) photos.askFirst(state.photos, state.acting);
  for (const sentence of found.sentences || []) {
    const item = make("li", { class: sentence.warning ? "warning" : "" }, sentence.text);
    $("messages").append(item);
    while ($("messages").children.length > 60) $("messages").firstChild.remove();
    $("messages").scrollTop = $("messages").scrollHeight;
  }
  delete state.sentences;
  for (const part of parts) part.update(state, found);
}

async function keepWatching() {
  for (;;) {
    try { await watch(); } catch { /* the state says what is wrong */ }
    await new Promise((done) => { setTimeout(done, AGAIN_MS); });
  }
}

let stream = new AbortController();

async function keepFollowing() {
  for (;;) {
    stream = new AbortController();
    try {
      await lines(`/state?bars=${$("more").open ? 1 : 0}`, show, stream.signal);
      throw new Error("The program ended.");
    } catch (error) {
      if (stream.signal.aborted) continue;
      if (error.status === 401 || error.status === 421) {
        refuse(error.message);
        return;
      }
      text($("state"), "The program does not answer. It is asked again …");
    }
    await new Promise((done) => { setTimeout(done, AGAIN_MS); });
  }
}

function refuse(sentence) {
  $("refused").textContent = sentence;
  $("refused").hidden = false;
  document.querySelector("main").hidden = true;
  text($("state"), "Not connected");
}

async function begin() {
  try {
    await logIn();
  } catch (error) {
    refuse(error.message);
    return;
  }
  document.querySelector("main").hidden = false;
  for (const part of [dials, photos, ...parts]) part.build();
  setMirror(true);
  $("panic").addEventListener("click", () => panic(!state.panic));
  $("pause").addEventListener("click", () => press("p"));
  $("rest").addEventListener("click", () => press("c"));
  $("mirror").addEventListener("click", () => setMirror(!mirrored()));
  $("act-here").addEventListener("click", () => attempt(() => act("/act-here")));
  $("end").addEventListener("click", () => press("q"));
  $("more").addEventListener("toggle", () => stream.abort()); // it begins again with the bars, or without
  document.addEventListener("keydown", onKey, true);
  // A space that was taken for panic must not press the button below it when it is let go.
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.matches("button, summary")) event.preventDefault();
  }, true);
  keepFollowing();
  keepWatching();
}

begin();
