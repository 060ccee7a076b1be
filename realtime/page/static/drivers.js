// Who drives: nobody, a camera, a clip, a tracker. Performances are another part's.

import { act, send } from "/api.js";
import { choices, forget } from "/choices.js";
import { $, attempt, button, make, text } from "/dom.js";

const TRACKERS = { ifacialmocap: "iFacialMocap", livelink: "Live Link Face", vmc: "VMC protocol" };
let running = false;

function option(value, label) {
  return make("option", { value }, label);
}

function cameraRow(found) {
  const camera = make("select", { id: "camera" },
    ...found.cameras.map((each) => option(each.index, each.name)));
  const profile = make("select", { id: "profile" }, option("", "no profile"),
    ...found.profiles.map((name) => option(name, name)));
  const use = button("Use the camera", () => act("/driver", {
    kind: "camera", index: Number(camera.value), profile: profile.value || null,
  }), { id: "use-camera", disabled: !found.cameras.length });
  return make("div", { class: "line" },
    make("label", { class: "stack" }, "Camera", camera.options.length ? camera : make("span", {}, "none is connected")),
    make("label", { class: "stack" }, "Profile", profile), use);
}

function clipRow() {
  const file = make("input", { type: "file", class: "file", id: "clip-file", accept: "video/*" });
  file.addEventListener("change", async () => {
    const [clip] = file.files;
    file.value = "";
    if (!clip) return;
    text($("driver-now"), `${clip.name} is sent …`);
    await attempt(() => send("/driver/clip", clip));
  });
  return make("div", { class: "line" }, make("label", { class: "button", for: "clip-file" }, "Use a clip …"), file);
}

function trackerRow(found) {
  const protocol = make("select", { id: "tracker" },
    ...Object.keys(found.trackers).map((name) => option(name, TRACKERS[name] || name)));
  const port = make("input", { type: "number", id: "tracker-port", min: 1, max: 65535, value: Object.values(found.trackers)[0] });
  protocol.addEventListener("change", () => { port.value = found.trackers[protocol.value]; });
  const network = make("select", { id: "tracker-from" },
    option("", "a program of this machine"), option("1", "a phone in the network"));
  const use = button("Use the tracker", () => act("/driver", {
    kind: "tracker", protocol: protocol.value, port: Number(port.value), network: Boolean(network.value),
  }), { id: "use-tracker" });
  return make("div", { class: "line" }, make("label", { class: "stack" }, "Phone or program", protocol),
    make("label", { class: "stack" }, "Port", port), make("label", { class: "stack" }, "Sent by", network), use);
}

async function fill() {
  const found = await attempt(choices);
  if (!found) return;
  $("drivers").replaceChildren(
    button("Nobody", () => act("/driver", { kind: "nobody" }), { id: "nobody" }),
    ...(found.given ? [button("As started", () => act("/driver", { kind: "given" }), { id: "given" })] : []),
    button("Look for cameras again", () => { forget(); return fill(); }, { class: "quiet" }),
    cameraRow(found), clipRow(), trackerRow(found),
  );
}

export function build() {}

export function update(state, found) {
  if ("running" in found && found.running && !running) fill();
  if ("running" in found) running = found.running;
  if ("driver" in found) {
    const driver = found.driver;
    const now = driver.chosen ? `${driver.chosen}${driver.opening ? " is being opened …" : ""}` : "Nobody drives.";
    text($("driver-now"), driver.fault || (driver.ended ? `${now} is over.` : now));
    $("driver-now").className = driver.fault ? "ill" : "";
  }
}
