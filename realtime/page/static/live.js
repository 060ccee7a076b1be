// The puppet's picture, in a mirror and as others see it.

import { pictures } from "/api.js";
import { $, pressed, text } from "/dom.js";

let mirror = true;
let badge = null; // left, top, right, bottom of the mark, as shares of the picture

export function setBadge(found) {
  badge = found;
}

export function setMirror(on) {
  mirror = on;
  pressed($("mirror"), on);
  text($("live-caption"), on ? "As in a mirror" : "As others see it");
}

export const mirrored = () => mirror;

function draw(canvas, bitmap, turned) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(turned ? -1 : 1, 0, 0, 1, turned ? canvas.width : 0, 0);
  context.drawImage(bitmap, 0, 0);
  if (turned && badge) { // the mark has to be read in a mirror, too
    const [left, top, right, bottom] = [badge[0] * bitmap.width, badge[1] * bitmap.height, badge[2] * bitmap.width, badge[3] * bitmap.height];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(bitmap, left, top, right - left, bottom - top, bitmap.width - right, top, right - left, bottom - top);
  }
}

/** Shows what goes out, until the stream ends. */
export async function watch(signal) {
  const live = $("live");
  const width = Math.round(live.clientWidth * (window.devicePixelRatio || 1)) || 640;
  await pictures(`/live?width=${Math.min(width, 1280)}`, (bitmap) => {
    draw(live, bitmap, mirror);
    draw($("others"), bitmap, false);
    bitmap.close();
    live.dataset.pictures = String(Number(live.dataset.pictures || 0) + 1);
  }, signal);
}
