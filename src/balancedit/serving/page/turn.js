// One question and its answer: the text as it comes, which edit gave it, and what would stand there
// without edits.

import { ask, messages } from "./chat.js";
import { correction } from "./correct.js";
import { button, el, notice, put, said, say, waiting } from "./dom.js";
import { change, named, record, thumbnail, undo } from "./edit.js";
import { reachBar, reachWords } from "./reach.js";
import { call, changes, may } from "./session.js";
import { number, sentence, short, told } from "./words.js";

/** A turn of a conversation. `before` are the turns that came before it; `onState` is told whenever
 *  it begins or ends. Returns { node, question, answer, busy, start, stop }. */
export function turnOf({ picture, before, question, onState, onGiveBack }) {
  const text = el("p", { class: "answer" });
  const untouched = el("div", { class: "untouched" });
  const status = el("div", { class: "status" });
  const source = el("div", { class: "source" });
  const actions = el("div", { class: "row actions" });
  const below = el("div", { class: "stack" });
  const asked = el("p", { class: "asked" }, el("span", { class: "unseen" }, "You asked: "), said(question));
  const answers = el("div", { class: "answers" }, el("div", { class: "edited" }, el("p", { class: "label small soft" }, "Answer"), text), untouched);
  const node = el("article", { class: "turn card" }, asked, answers, status, source, actions, below);
  const turn = { node, question, answer: undefined, busy: false, start, stop: () => stopping?.abort() };
  let stopping = null;
  const prompt = () => messages(picture?.data, before.filter((t) => t.answer !== undefined), question);

  async function start() {
    const mine = (stopping = new AbortController());
    turn.busy = true;
    turn.answer = undefined;
    let come = "";
    put(untouched);
    put(source);
    put(status);
    put(text, el("span", { class: "caret", "aria-hidden": "true" }), el("span", { class: "unseen" }, "The answer is coming."));
    act(button("Stop", () => mine.abort(), { class: "quiet" }));
    onState(turn);
    try {
      const { text: whole, decision } = await ask(prompt(), {
        signal: mine.signal,
        onPiece(piece) {
          come += piece;
          put(text, said(come), el("span", { class: "caret", "aria-hidden": "true" }));
        },
      });
      turn.answer = whole;
      put(text, whole ? said(whole) : el("span", { class: "soft" }, "(an empty answer)"));
      say(`Answer: ${whole || "empty"}`);
      decided(decision);
    } catch (error) {
      failed(told(error), come);
    } finally {
      turn.busy = false;
      onState(turn);
    }
  }

  /** What can be done now; who was at what could be done before goes on there. */
  function act(...now) {
    const here = actions.contains(document.activeElement);
    put(actions, ...now);
    if (here) node.querySelector(".actions button, .status button")?.focus();
  }

  /** What came stays to be read, and the question can be asked again or taken back to be changed. */
  function failed(why, come) {
    put(text, come ? said(come) : el("span", { class: "soft" }, "(no answer)"));
    const again = button("Ask again", start);
    const back = button("Change the question", () => onGiveBack(turn), { class: "quiet" });
    put(status, why ? notice("bad", why.title, why.remedy, again, back) : notice("warn", "Stopped.", "The answer is not whole.", again, back));
    act();
  }

  function decided(decision) {
    const cut = decision?.cut ? el("p", { class: "soft small" }, "The answer is longer than the server allows and was cut.") : null;
    put(status, cut);
    draw(decision);
    const why = before.length === 0 ? button("Why?", () => explain(why), { class: "quiet", "aria-expanded": "false" }) : null;
    const correct = may("edit") && picture ? button("Correct this", open) : null;
    const none = may("edit") && !picture ? el("span", { class: "soft small" }, "To correct an answer, ask about a picture.") : null;
    act(correct, why, none);
    if (decision?.fired) withoutEdits();
  }

  /** Which edit gave the answer; its record is fetched after the bar is drawn. */
  function draw(decision) {
    const id = decision?.fired ?? decision?.nearest;
    if (!id) {
      put(source, el("p", { class: "soft small" }, "No edit fired: this is the untouched model's own answer."));
      return;
    }
    const { distance, radius } = decision;
    const about = el("p", { class: "fact small" });
    const small = el("span", { class: "thumbnail none", "aria-hidden": "true" });
    const inside = distance !== null && distance <= radius;
    const words = decision.fired
      ? ["Given by edit ", named(id)]
      : ["The untouched model's answer. ", inside ? "Inside the reach of edit " : "The nearest edit is ", named(id), inside ? ", which leaves other answers alone" : ""];
    put(source, el("div", { class: "given" }, small, el("div", { class: "stack tight" }, el("p", { class: "small" }, words), about, reachBar(distance, radius).node, el("p", { class: "soft small" }, reachWords(distance, radius)))));
    record(id).then((edit) => {
      if (!edit) return;
      put(about, said(edit.question), " ", change(edit.old_answer ?? edit.answer_before, edit.target));
      small.replaceWith(thumbnail(edit.thumbnail));
    });
  }

  /** What the model says without any edit, asked for only where an edit fired: else it is the same. */
  async function withoutEdits() {
    const label = el("p", { class: "label small soft" }, "Without edits");
    put(untouched, label, el("p", { class: "answer" }, el("span", { class: "caret", "aria-hidden": "true" }), el("span", { class: "unseen" }, "coming")));
    try {
      const { text: plain } = await ask(prompt(), { base: true });
      put(untouched, label, el("p", { class: "answer soft" }, said(plain)));
    } catch (error) {
      const why = told(error);
      put(untouched, label, notice("bad", why.title, why.remedy, button("Ask again", withoutEdits)));
    }
  }

  async function explain(opener) {
    const shown = below.querySelector(".why");
    opener.setAttribute("aria-expanded", String(!shown));
    if (shown) return shown.remove();
    const why = el("section", { class: "why stack tight", "aria-label": "Why this answer" }, waiting("Looking for the reason", 1));
    below.prepend(why);
    try {
      const { explanation } = await call("v1/explain", { method: "POST", body: { image: picture?.data ?? null, question, nearest: 5 } });
      put(why, el("p", {}, said(sentence(explanation.reason))), neighbours(explanation.neighbours ?? []));
    } catch (error) {
      const trouble = told(error);
      put(why, notice("bad", trouble.title, trouble.remedy));
    }
  }

  function neighbours(all) {
    if (!all.length) return null;
    const full = 1.1 * Math.max(...all.flatMap((near) => [near.distance, near.radius]));
    const line = (near) =>
      el("li", { class: "near" }, named(near.id), el("span", {}, said(near.question), " → ", said(near.target)), reachBar(near.distance, near.radius, full).node, el("span", { class: "soft small" }, number(near.distance)));
    return el("ol", { class: "nearest" }, all.map(line));
  }

  function open() {
    if (below.querySelector(".correction")) return below.querySelector("input")?.focus();
    const form = correction({
      picture: picture?.data ?? null,
      question,
      answer: turn.answer,
      later: before.length > 0,
      onClose() {
        form.node.remove();
        actions.querySelector("button")?.focus();
      },
      onCommitted(edit) {
        form.node.remove();
        corrected(edit);
        start();
      },
    });
    below.append(form.node);
    form.focus();
  }

  function corrected(edit) {
    const back = button("Undo", async () => {
      back.disabled = true;
      try {
        const words = await undo(edit.id);
        put(below, notice("good", words, "The answer above was given without it."));
        start();
      } catch (error) {
        const why = told(error);
        back.disabled = false;
        below.append(notice("bad", why.title, why.remedy));
      }
    });
    const warnings = (edit.warnings ?? []).join(" ");
    const done = notice(warnings ? "warn" : "good", `Edit ${short(edit.id)} is in force.`, warnings || "The answer above was given with it.", back);
    put(below, done);
    back.focus();
    changes.addEventListener("changed", async function look() {
      const now = done.isConnected && (await record(edit.id));
      if (done.isConnected && !back.disabled && now?.state !== "active" && now)
        done.replaceWith(notice("warn", `Edit ${short(edit.id)} is no longer in force.`, "It was undone or replaced elsewhere; ask again to see the answer now."));
      if (!done.isConnected) changes.removeEventListener("changed", look);
    });
  }

  return turn;
}
