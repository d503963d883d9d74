// The edits that were made: in force, replaced, undone.

import { button, el, notice, put, said, say } from "./dom.js";
import { badge, change, named, thumbnail, undo } from "./edit.js";
import { listing } from "./listing.js";
import { may } from "./session.js";
import { count, number, short, told, when } from "./words.js";

const PAGE = 20;

/** The view; it is loaded anew each time it is shown. */
export function editsView() {
  const heading = el("h1", { tabIndex: -1 }, "Edits");
  const status = el("div");
  let state = "active";
  const choices = ["active", "all"].map((name) =>
    button(name === "active" ? "In force" : "All", () => choose(name), { "aria-pressed": String(name === state), data: { state: name } }),
  );
  const list = listing({
    path: (after) => `v1/edits?limit=${PAGE}&state=${state}${after ? `&after=${encodeURIComponent(after)}` : ""}`,
    row,
    empty: nothing,
    className: "edits",
  });

  function choose(name) {
    state = name;
    for (const choice of choices) choice.setAttribute("aria-pressed", String(choice.dataset.state === state));
    list.load();
  }

  function nothing() {
    const where = el("a", { href: "#ask" }, "Ask about a picture");
    return el("div", { class: "nothing card" }, el("img", { src: "page/mark.svg", alt: "", class: "art" }), el("h2", {}, state === "active" ? "No edit is in force" : "No edits yet"), el("p", { class: "soft" }, where, ", and correct what is wrong."));
  }

  function row(edit) {
    const actions = el("div", { class: "row actions" });
    const trouble = el("div");
    const node = el(
      "li",
      { class: "card entry", data: { edit: edit.id } },
      thumbnail(edit.thumbnail),
      el(
        "div",
        { class: "stack tight" },
        el("h2", { class: "clamped" }, said(edit.question)),
        el("p", { class: "clamped" }, change(edit.answer_before, edit.target)),
        el("p", { class: "row soft small" }, badge(edit.state), named(edit.id), el("time", { datetime: edit.created }, when(edit.created)), edit.radius === null ? null : `radius ${number(edit.radius)}`),
        (edit.warnings ?? []).map((text) => el("p", { class: "small warning" }, said(text))),
        details(edit),
        trouble,
      ),
      actions,
    );
    if (edit.state === "active" && may("edit")) put(actions, button("Undo", ask));

    /** Undoing is asked for twice, in the same place. */
    function ask() {
      const sure = button("Yes, undo it", take, { class: "danger" });
      put(actions, sure, button("Keep", () => { put(actions, button("Undo", ask)); actions.firstChild.focus(); }, { class: "quiet" }));
      sure.focus();
    }

    async function take() {
      actions.firstChild.setAttribute("aria-disabled", "true");
      try {
        const words = await undo(edit.id);
        put(status, notice("good", words, "Its record stays, under “All”."));
        say(words);
        await list.load();
        heading.focus();
      } catch (error) {
        const why = told(error);
        put(trouble, notice("bad", why.title, why.remedy));
        put(actions, button("Undo", ask));
        actions.firstChild.focus();
      }
    }
    return node;
  }

  return {
    node: el("div", { class: "stack narrow" }, el("div", { class: "row spread" }, heading, el("div", { class: "row", role: "group", "aria-label": "Which edits" }, choices)), status, list.node),
    shown() {
      put(status);
      list.load();
    },
    heading,
  };
}

/** How an edit was learned, for who wants to know. */
function details(edit) {
  const distance = (value) => (typeof value === "number" ? number(value) : null);
  const facts = [
    ["Id", el("span", { class: "id" }, edit.id)],
    ["The untouched model says", edit.old_answer === null || edit.old_answer === undefined ? null : said(edit.old_answer)],
    ["Other wordings", edit.positives?.length ? el("ul", {}, edit.positives.map((text) => el("li", {}, said(text)))) : null],
    ["They come from", { given: "whoever taught it", model: "the model", rules: "rules" }[edit.positives_source]],
    ["Distance to them", distance(edit.d_positive)],
    ["Distance to what it must not reach", distance(edit.d_negative)],
    ["Replaces", edit.retires?.length ? edit.retires.map(short).join(", ") : null],
    ["Replaced by", edit.retired_by ? short(edit.retired_by) : null],
    ["Learned", `in ${number(edit.seconds ?? 0)} s, ${count(edit.steps ?? 0, "step")}`],
  ];
  return el(
    "details",
    {},
    el("summary", {}, "Details"),
    el("dl", { class: "facts small" }, facts.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", { class: "soft" }, name), el("dd", {}, value)))),
  );
}
