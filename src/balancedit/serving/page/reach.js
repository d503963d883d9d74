// How far a question lies from an edit, and how far the edit reaches, as a small bar.

import { el, put } from "./dom.js";
import { number } from "./words.js";

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** In words: "distance 3.1, inside the radius 4.2". */
export function reachWords(distance, radius) {
  if (!known(distance)) return known(radius) ? `radius ${number(radius)}` : "";
  if (!known(radius)) return `distance ${number(distance)}`;
  return `distance ${number(distance)}, ${distance <= radius ? "inside" : "outside"} the radius ${number(radius)}`;
}

/** The bar: filled as far as the edit reaches, a mark where the question lies. `full` is the value
 *  at its end, so that several bars can share one measure. Returns { node, set(radius) }. */
export function reachBar(distance, radius, full) {
  const filled = el("span", { class: "filled" });
  const mark = el("span", { class: "mark" });
  const node = el("span", { class: "reach", role: "img" });
  if (!known(distance) || !known(radius)) return { node: el("span", { hidden: true }), set() {} };
  put(node, filled, mark);
  const set = (now) => {
    const end = full || 1.25 * Math.max(distance, now) || 1;
    const share = (value) => `${Math.min(100, (100 * value) / end)}%`;
    filled.style.setProperty("--share", share(now));
    mark.style.setProperty("--share", share(distance));
    node.classList.toggle("outside", distance > now);
    node.setAttribute("aria-label", reachWords(distance, now));
  };
  set(radius);
  return { node, set };
}
