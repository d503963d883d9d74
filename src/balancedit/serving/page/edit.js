// What is known of single edits: their records, fetched once, their states in words, undoing one.

import { el, said } from "./dom.js";
import { call, changes, pictureAt } from "./session.js";
import { short } from "./words.js";

const LATER = 3000; // milliseconds
const held = new Map();
changes.addEventListener("changed", () => held.clear());

/** The record of an edit, or null where it cannot be had. */
export function record(id) {
  if (!held.has(id)) {
    const coming = call(`v1/edits/${encodeURIComponent(id)}`).then((body) => body.edit, () => null);
    held.set(id, coming);
  }
  return held.get(id);
}

export const STATES = { active: ["in force", "good"], retired: ["replaced", "warn"], reverted: ["undone", ""] };

export const badge = (state) => {
  const [words, kind] = STATES[state] ?? [state, ""];
  return el("span", { class: `badge ${kind}` }, words);
};

export const named = (id) => el("span", { class: "id", title: id }, short(id));

/** A small picture, or an empty place of the same size where there is none or it does not load. */
export function thumbnail(path) {
  const none = () => el("span", { class: "thumbnail none", "aria-hidden": "true" });
  if (!path) return none();
  const shown = el("img", { alt: "", class: "thumbnail", loading: "lazy" });
  let left = 1; // many at once may be more than the key's rate: then once more, later
  const show = () => pictureAt(path).then((source) => (shown.src = source), lost);
  const lost = () => (left-- > 0 ? setTimeout(show, LATER) : shown.replaceWith(none()));
  shown.addEventListener("error", lost);
  shown.addEventListener("load", () => URL.revokeObjectURL(shown.src), { once: true });
  show();
  return shown;
}

/** Old answer → new answer. */
export const change = (before, after) =>
  el(
    "span",
    { class: "change" },
    said(before || "(nothing)", { class: "before" }),
    el("span", { class: "arrow" }, el("span", { class: "unseen" }, "becomes"), el("span", { "aria-hidden": "true" }, "→")),
    said(after, { class: "after" }),
  );

/** Take an edit back; what happened, in a sentence. */
export async function undo(id) {
  const done = await call(`v1/edits/${encodeURIComponent(id)}/revert`, { method: "POST", body: {} });
  const back = (done.changed ?? []).filter((edit) => edit.state === "active" && edit.id !== id);
  const names = back.map((edit) => short(edit.id)).join(", ");
  return `Edit ${short(id)} is undone${back.length ? `; ${names} is in force again` : ""}.`;
}
