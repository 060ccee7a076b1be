// The shelf: thumbnails, adding, choosing, removing, who is in a photo, which of several faces.

import { act, file, look, send } from "/api.js";
import { $, attempt, button, make, pressed, question, tell, text } from "/dom.js";

const cards = new Map();
const asked = new Set();
let shown = 0;

const WHOSE = [
  ["mine", "I am", "main"], ["agreed", "Somebody who agreed to this", ""],
  ["nobody", "Nobody: drawn or generated", ""], ["no", "Somebody else", "quiet"],
];

async function paint(canvas, path) {
  const bitmap = await createImageBitmap(await file(path));
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

function card(photo) {
  const canvas = make("canvas", { width: 160, height: 120 });
  const name = make("span", {}, photo.name);
  const state = make("span", { class: "soft" });
  const choose = button("", () => chosen(found.photo), { class: "photo", "aria-pressed": "false" });
  choose.append(canvas, name, state);
  const faces = button("Face …", () => chooseFace(found.photo), { class: "small" });
  const remove = button("Remove", () => act("/photos/remove", { number: photo.number }), { class: "small quiet" });
  faces.setAttribute("aria-label", `Choose a face of ${photo.name}`);
  remove.setAttribute("aria-label", `Remove ${photo.name}`);
  const item = make("li", { id: `photo-${photo.number}` }, choose, make("div", { class: "line" }, faces, remove));
  const found = { item, choose, state, photo };
  paint(canvas, `/photos/thumbnail?number=${photo.number}`).catch(() => {});
  return found;
}

async function chosen(photo) {
  if (!photo.answered && !(await consent(photo))) return;
  await act("/photos/show", { number: photo.number });
}

/** Asks who is in a photo; returns whether it may be shown. */
async function consent(photo) {
  asked.add(photo.number);
  const answer = await question(`Who is in ${photo.name}?`, [
    make("p", {}, "This is asked once. The answer stays on this machine, with the date, and can be listed there."),
  ], WHOSE);
  if (!answer) return false;
  await act("/photos/consent", { number: photo.number, answer });
  if (answer === "no") tell("The photo is not used: animate yourself, people who agreed, or nobody.");
  return answer !== "no";
}

async function chooseFace(photo) {
  if (!photo.answered && !(await consent(photo))) return;
  const found = await look(`/photos/faces?number=${photo.number}`);
  const canvas = make("canvas", {});
  const holder = make("div", { class: "faces" }, canvas);
  await paint(canvas, `/photos/picture?number=${photo.number}`);
  let face = "";
  found.faces.forEach(([left, top, right, bottom], number) => {
    const frame = make("button", {
      type: "button", onclick: () => { face = String(number + 1); $("dialog").close(); },
      "aria-label": `Face ${number + 1}, from the left`,
    }, make("span", {}, String(number + 1)));
    frame.style.left = `${left * 100}%`;
    frame.style.top = `${top * 100}%`;
    frame.style.width = `${(right - left) * 100}%`;
    frame.style.height = `${(bottom - top) * 100}%`;
    holder.append(frame);
  });
  await question(found.faces.length > 1 ? "Which face is animated?" : "One face was found.", [holder], [["", "Close", "quiet"]]);
  if (face) await act("/photos/show", { number: photo.number, face });
}

export function update(photos) {
  const shelf = $("shelf");
  shown = photos.shown;
  const numbers = new Set(photos.shelf.map((photo) => photo.number));
  for (const [number, found] of cards) {
    if (!numbers.has(number)) {
      found.item.remove();
      cards.delete(number);
    }
  }
  photos.shelf.forEach((photo, place) => {
    if (!cards.has(photo.number)) cards.set(photo.number, card(photo));
    const found = cards.get(photo.number);
    found.photo = photo;
    if (shelf.children[place] !== found.item) shelf.insertBefore(found.item, shelf.children[place] || null);
    pressed(found.choose, photo.number === shown);
    const state = photo.fault || (photo.answered ? (photo.ready ? "" : "prepared when chosen") : "Who is in it?");
    text(found.state, photo.number === shown ? "shown" : state);
  });
  shelf.setAttribute("aria-busy", String(photos.busy));
}

/** Photos of which it is not known who is in them: asked for the first that is new. */
export async function askFirst(photos, acting) {
  const photo = photos.shelf.find((each) => !each.answered && !asked.has(each.number));
  if (!photo || !acting || $("dialog").open) return;
  if (await attempt(() => consent(photo))) await attempt(() => act("/photos/show", { number: photo.number }));
}

async function add(files) {
  for (const photo of files) {
    text($("photo-progress"), `${photo.name} is looked at …`);
    await attempt(async () => {
      const found = await send("/photos", photo);
      if (!found.answered && !(await consent(found))) return;
      await act("/photos/show", { number: found.number });
    });
  }
  text($("photo-progress"), "");
}

export function build() {
  const drop = $("drop");
  $("photo-file").addEventListener("change", async (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    await add(files);
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
}
