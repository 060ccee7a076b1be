// What can be chosen: cameras, trackers, microphones, presets, profiles, action units.

import { look } from "/api.js";

let asked = null;

/** Asked for once, and again after `forget`. */
export function choices() {
  asked = asked || look("/choices").catch((error) => {
    asked = null;
    throw error;
  });
  return asked;
}

export function forget() {
  asked = null;
}
