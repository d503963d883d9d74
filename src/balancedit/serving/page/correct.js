// A correction: the new answer, what it would change, and putting it in force.

import { button, el, field, notice, put, said, say, waiting } from "./dom.js";
import { previewOf } from "./preview.js";
import { call, note } from "./session.js";
import { told } from "./words.js";

/** A key for one attempt; sent again with it, a request is not carried out twice. */
function attempt() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The form; nothing that was written is lost by any error. */
export function correction({ picture, question, answer, later, onClose, onCommitted }) {
  const wanted = el("input", { type: "text", dir: "auto", required: true, autocomplete: "off" });
  const others = el("textarea", { rows: "2", dir: "auto" });
  const fresh = el("input", { type: "checkbox" });
  const look = el("button", { type: "submit", class: "main" }, "Preview what changes");
  const at_once = button("Commit without a preview", () => commit(fact()));
  const cancel = button("Cancel", close, { class: "quiet" });
  const outcome = el("div", { class: "stack" });
  const more = el(
    "details",
    {},
    el("summary", {}, "More"),
    el(
      "div",
      { class: "stack" },
      field("Other wordings of the question", others, "One a line. Without any the model makes its own, to measure how far the edit should reach."),
      el("label", { class: "check" }, fresh, "What it says now is a guess: replace any answer within reach"),
    ),
  );
  const form = el(
    "form",
    { class: "stack", on: { submit: preview, input: stale } },
    field("It should answer", wanted, later ? "Learned for this question about this picture by itself, without the conversation before it." : null),
    more,
    el("div", { class: "row" }, look, at_once, cancel),
  );
  const node = el(
    "section",
    { class: "correction stack", "aria-label": "Correct the answer", on: { keydown: (event) => event.key === "Escape" && close() } },
    el("h2", { class: "about" }, "Correct “", said(answer), "”"),
    form,
    outcome,
  );
  let running = null;
  let tried = {}; // the last commit whose outcome is not known: its body, as text, and its key

  function close() {
    if (committing()) return; // whether it is in force has to be told
    running?.abort();
    onClose();
  }

  function fact() {
    const lines = others.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const made = { image: picture, question, answer: wanted.value.trim() };
    if (lines.length) made.rephrasings = lines;
    if (fresh.checked) made.new = true;
    return made;
  }

  function complete() {
    const written = wanted.value.trim() !== "";
    wanted.setAttribute("aria-invalid", String(!written));
    if (written) return true;
    put(outcome, notice("bad", "The new answer is missing.", "Write what it should answer."));
    wanted.focus();
    return false;
  }

  /** What was previewed is no longer what is written. */
  function stale() {
    running?.abort();
    previewed(false);
    wanted.removeAttribute("aria-invalid");
    put(outcome);
    busy(false);
  }

  const committing = () => node.classList.contains("committing");

  function busy(on, commits = false) {
    node.classList.toggle("committing", on && commits);
    for (const control of [wanted, others]) control.readOnly = on && commits;
    fresh.disabled = on && commits;
    look.setAttribute("aria-disabled", String(on));
    at_once.setAttribute("aria-disabled", String(on));
    node.setAttribute("aria-busy", String(on));
  }

  /** While a preview is shown, what is to be pressed next is in it. */
  function previewed(on) {
    look.textContent = on ? "Preview again" : "Preview what changes";
    look.classList.toggle("main", !on);
    at_once.hidden = on;
  }

  /** Do one thing at a time, with what is being done and its error in words. */
  async function work(words, act, again, commits = false) {
    if (node.getAttribute("aria-busy") === "true") return;
    const mine = (running = new AbortController());
    busy(true, commits);
    previewed(false);
    const stop = commits ? null : button("Stop", () => mine.abort(), { class: "quiet" });
    put(outcome, el("p", { class: "soft" }, words), waiting("", 2), stop);
    try {
      await act(mine.signal);
    } catch (error) {
      if (running !== mine) return; // something newer has taken its place
      const why = told(error);
      put(outcome, why ? trouble(why, again) : notice("warn", "Stopped.", "Nothing was put in force.", button("Try again", again)));
      // What was pressed is gone: go on at the remedy.
      if (document.activeElement === document.body) outcome.querySelector("button")?.focus();
    } finally {
      if (running === mine) busy(false);
    }
  }

  function trouble(why, again) {
    const anew = why.status === 412 || why.status === 410 || why.status === 404;
    return notice("bad", why.title, why.remedy, anew ? button("Preview again", preview) : button("Try again", again));
  }

  async function preview(event) {
    event?.preventDefault();
    if (!complete()) return;
    await work("Learning the correction and going through the questions that were asked …", async (signal) => {
      const made = await call("v1/edits/preview", { method: "POST", body: { ...fact(), limit: 50 }, signal });
      const shown = previewOf(made, (radius) => commit({ preview_id: made.preview_id, radius }, made.version), (why) => put(outcome, trouble(why, preview)));
      put(outcome, shown.node);
      previewed(true);
      say(shown.words());
    }, preview);
  }

  /** version: that the preview was made at; without one the correction is wanted whatever was
   *  changed meanwhile. */
  async function commit(body, version) {
    if (!complete()) return;
    const asked = JSON.stringify(body);
    if (tried.asked !== asked) tried = { asked, key: attempt() };
    await work("Putting the correction in force …", async (signal) => {
      const headers = { "Idempotency-Key": tried.key };
      if (version !== undefined) headers["If-Match"] = `"${version}"`;
      let done;
      try {
        done = await call("v1/edits", { method: "POST", body, headers, signal });
      } catch (error) {
        if (error.status) tried = {}; // refused for certain: the next attempt is another
        throw error;
      }
      note(done.version);
      say("The correction is in force.");
      onCommitted(done.edit);
    }, () => commit(body, version), true);
  }

  return { node, focus: () => wanted.focus() };
}
