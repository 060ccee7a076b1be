// Delay and rate of the last minute.

import { colour, drawn } from "/dom.js";

const SECONDS = 60;
const kept = [];

export function add(figures) {
  const now = performance.now() / 1000;
  kept.push({ now, delay: figures.delay_p95_ms, rate: figures.rate });
  while (kept.length && kept[0].now < now - SECONDS) kept.shift();
}

export function plot(canvas) {
  const { context, width, height } = drawn(canvas);
  const now = performance.now() / 1000;
  const most = Math.max(60, ...kept.map((each) => each.delay));
  context.strokeStyle = colour("line");
  context.fillStyle = colour("soft");
  context.font = "11px system-ui, sans-serif";
  context.lineWidth = 1;
  for (const share of [0, 0.5, 1]) {
    const y = 2 + (height - 4) * share;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
  }
  context.textBaseline = "top";
  context.fillText(`${Math.round(most)}`, 2, 4);
  for (const [name, ink] of [["delay", "asked"], ["rate", "driver"]]) {
    context.strokeStyle = colour(ink);
    context.lineWidth = 2;
    context.beginPath();
    kept.forEach((each, number) => {
      const x = width * (1 - (now - each.now) / SECONDS);
      const y = 2 + (height - 4) * (1 - each[name] / most);
      if (number) context.lineTo(x, y); else context.moveTo(x, y);
    });
    context.stroke();
  }
}
