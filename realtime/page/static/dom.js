// Elements, and what the user is told. Text is only ever put in as text.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name.startsWith("aria-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

let hiding = 0;

/** A sentence that is read out, and goes away. */
export function tell(sentence) {
  const toast = $("toast");
  toast.textContent = sentence;
  toast.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { toast.hidden = true; }, 8000);
}

/** Does something that may be refused: the reason is told. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    tell(error.message);
    return undefined;
  }
}

/** A button that does something once at a time. */
export function button(label, onPress, properties = {}) {
  const found = make("button", { type: "button", ...properties }, label);
  found.addEventListener("click", async () => {
    if (found.dataset.busy) return;
    found.dataset.busy = "1";
    try { await attempt(onPress); } finally { delete found.dataset.busy; }
  });
  return found;
}

/** Asks in a dialog; the value of the button that was pressed, "" for none. */
export function question(title, content, answers) {
  const dialog = $("dialog");
  return new Promise((resolve) => {
    let chosen = "";
    dialog.replaceChildren(
      make("h2", { id: "dialog-title" }, title),
      ...content,
      make("div", { class: "bar" }, ...answers.map(([value, label, look]) =>
        make("button", { type: "button", class: look || "", onclick: () => { chosen = value; dialog.close(); } }, label))),
    );
    dialog.setAttribute("aria-labelledby", "dialog-title");
    dialog.addEventListener("close", () => resolve(chosen), { once: true });
    dialog.showModal();
  });
}

export function pressed(element, on) {
  if (element.getAttribute("aria-pressed") !== String(on)) element.setAttribute("aria-pressed", String(on));
}

export function text(element, found) {
  if (element.textContent !== found) element.textContent = found;
}

/** A canvas at the screen's own resolution: its context, and its size in CSS pixels. */
export function drawn(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || canvas.width;
  const height = canvas.clientHeight || canvas.height;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
