// How the page speaks to the program: a key of this tab beside the cookie, JSON, and two streams.

const KEY = "puppet page";
let key = sessionStorage.getItem(KEY) || "";

export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** Exchanges the token in the address for a cookie and a key; the token leaves the address at once. */
export async function logIn() {
  const token = location.hash.slice(1);
  if (token) {
    history.replaceState(null, "", location.pathname);
    const answer = await fetch("/login", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Refused(found.error, answer.status);
    key = found.key;
    sessionStorage.setItem(KEY, key);
  }
  if (!key) throw new Refused("Open the page by the address that the program printed.", 401);
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "X-Puppet-Page": key, ...options.headers } });
  if (answer.ok) return answer;
  let sentence = "The program did not answer as expected.";
  try { sentence = (await answer.json()).error; } catch { /* it was no JSON */ }
  throw new Refused(sentence, answer.status);
}

/** Asks the program to do something; what it refuses is a Refused with its sentence. */
export async function act(path, found = {}) {
  const answer = await ask(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(found),
  });
  return answer.json();
}

export async function look(path) {
  return (await ask(path)).json();
}

export async function file(path) {
  return (await ask(path)).blob();
}

/** Sends a file; its name is only what it is called. */
export async function send(path, found) {
  const answer = await ask(`${path}?name=${encodeURIComponent(found.name || "")}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: found,
  });
  return answer.json();
}

/** Lines of JSON, as they come, until the stream ends. */
export async function lines(path, onLine, signal) {
  const reader = (await ask(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) onLine(JSON.parse(part));
  }
}

/** Pictures, as they come: each is four bytes of its length, and a JPEG. The next is asked for when one is shown. */
export async function pictures(path, onPicture, signal) {
  const reader = (await ask(path, { signal })).body.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    let newest = null;
    for (;;) {
      if (held.length < 4) break;
      const length = new DataView(held.buffer, held.byteOffset).getUint32(0);
      if (held.length < 4 + length) break;
      newest = held.slice(4, 4 + length);
      held = held.slice(4 + length);
    }
    if (newest) await onPicture(await createImageBitmap(new Blob([newest], { type: "image/jpeg" })));
  }
}
