// Which of the questions asked before would get another answer, and how far the edit should reach.

import { button, el, fresh, notice, put, said, settled } from "./dom.js";
import { change, thumbnail } from "./edit.js";
import { reachBar, reachWords } from "./reach.js";
import { call } from "./session.js";
import { count, number, short, told } from "./words.js";

const SETTLED = 120; // milliseconds without a move of the slider
const STEPS = 1000;
const CLOSE = 0.1; // of the radius

/** The preview that the server made. `commit` is called with the radius, or undefined where it is the
 *  learned one; `failed` with a trouble. Returns { node, words }. */
export function previewOf(made, commit, failed) {
  const { learned, min, max } = made.radius ?? {};
  const movable = typeof learned === "number" && max > min;
  let radius = learned;
  let shown = made;
  let asking = null;
  let bars = [];

  const headline = el("h3", { tabIndex: -1 });
  const list = el("div", { class: "stack" });
  const value = el("output", { class: "small" });
  const slider = el("input", { type: "range", id: fresh("reach"), min: "0", max: String(STEPS), step: "1" });
  const reset = button("As learned", () => { place(learned); ask(); }, { class: "quiet" });
  const put_in_force = button("Commit", () => commit(radius === learned ? undefined : radius), { class: "main" });
  const help = el("span", { class: "soft small", id: fresh("help") }, "Further out it reaches more pictures and wordings of the thing, and risks others.");
  const reach = el(
    "div",
    { class: "slider" },
    el("div", { class: "row spread" }, el("label", { for: slider.id }, "Reach"), value),
    slider,
    el("div", { class: "row spread" }, help, reset),
  );
  slider.setAttribute("aria-describedby", help.id);

  function place(wanted) {
    radius = wanted;
    if (movable) slider.value = String(Math.round((STEPS * (radius - min)) / (max - min)));
    paint();
  }

  function paint() {
    for (const bar of bars) bar.set(radius);
    if (!movable) return;
    const as_learned = radius === learned;
    value.textContent = `radius ${number(radius)}${as_learned ? ", as learned" : `, learned ${number(learned)}`}`;
    slider.setAttribute("aria-valuetext", `radius ${number(radius)}`);
    reset.setAttribute("aria-disabled", String(as_learned));
  }

  async function redecide() {
    asking?.abort();
    const mine = (asking = new AbortController());
    list.setAttribute("aria-busy", "true");
    try {
      const now = await call(`v1/edits/preview/${encodeURIComponent(made.preview_id)}/radius`, { method: "POST", body: { radius }, signal: mine.signal });
      shown = { ...shown, ...now };
      draw();
    } catch (error) {
      const why = told(error);
      if (!why || asking !== mine) return;
      if ([404, 410, 412].includes(why.status)) failed(why);
      else put(list, notice("bad", why.title, why.remedy, button("Try again", redecide)));
    } finally {
      if (asking === mine) list.removeAttribute("aria-busy");
    }
  }
  const ask = settled(redecide, SETTLED);

  slider.addEventListener("input", () => {
    radius = min + (Number(slider.value) / STEPS) * (max - min);
    if (Math.abs(radius - learned) < (max - min) / STEPS) radius = learned;
    paint();
    ask();
  });

  function words() {
    if (!shown.considered) return "No questions have been logged to compare with.";
    const all = `${count(shown.considered, "logged question")}`;
    const open = shown.undecided ? ` Of ${shown.undecided} it cannot be said.` : "";
    const changes = shown.changes ?? shown.changed.length;
    if (!changes) return `None of the ${all} would get another answer.${open}`;
    return `${changes} of ${all} would get another answer.${open}`;
  }

  function draw() {
    headline.textContent = words();
    bars = [];
    const full = movable ? max : 1.25 * Math.max(radius ?? 0, ...shown.changed.map((one) => one.distance ?? 0));
    put(
      list,
      shown.considered ? null : notice("", "There is nothing to compare with.", "The server's query log is off or empty. The correction can be committed all the same."),
      (shown.changes ?? 0) > shown.changed.length ? el("p", { class: "soft small" }, `The ${shown.changed.length} nearest are shown.`) : null,
      shown.changed.length ? el("ul", { class: "cards" }, shown.changed.map((one) => card(one, full))) : null,
    );
    paint();
  }

  function card(one, full) {
    const bar = reachBar(one.distance, radius, full);
    bars.push(bar);
    return el(
      "li",
      { class: "card logged", data: { query: one.query_id } },
      thumbnail(one.thumbnail),
      el(
        "div",
        { class: "stack tight" },
        el("p", {}, said(one.question, { class: "clamped" })),
        el("p", {}, change(one.before ?? "(not known)", one.after ?? expected(one))),
        bar.node,
        el("p", { class: "soft small" }, sureness(one)),
      ),
    );
  }

  /** What will be said where it was not tried: the new answer if the edit fires there. */
  function expected(one) {
    if (one.fired_after === undefined ? one.inside : one.fired_after === shown.edit?.id) return shown.edit?.target ?? "(not tried)";
    return one.fired_after ? `(that of edit ${short(one.fired_after)})` : "(that of the untouched model)";
  }

  function sureness(one) {
    const close = one.sure === false || (typeof one.margin === "number" && Math.abs(one.margin) < CLOSE);
    return [
      typeof one.distance === "number" ? `distance ${number(one.distance)}` : null,
      close ? "close to the border" : null,
      one.after === null || one.after === undefined ? "expected, not tried" : null,
      one.exact === false ? "tried on a small copy" : null,
      one.fired_before ? `so far answered by edit ${short(one.fired_before)}` : null,
    ].filter(Boolean).join(", ");
  }

  const edit = made.edit ?? {};
  const about = el("p", { class: "soft small" }, "Not yet in force. ", typeof edit.d_positive === "number" ? `Other wordings lie ${number(edit.d_positive)} away, what it must not reach ${number(edit.d_negative)}.` : reachWords(null, learned));
  const warnings = (edit.warnings ?? []).map((text) => notice("warn", text));
  const node = el("section", { class: "preview stack", "aria-label": "Preview" }, headline, about, warnings, movable ? reach : null, list, el("div", { class: "row" }, put_in_force));
  place(learned);
  draw();
  return { node, words };
}
