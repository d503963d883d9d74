// Who did what: the audit log, which nothing is ever taken out of.

import { el, put, said } from "./dom.js";
import { named } from "./edit.js";
import { listing } from "./listing.js";
import { may } from "./session.js";
import { when } from "./words.js";

const PAGE = 50;

const ACTIONS = { edit: "made an edit", known: "taught again what was in force:", revert: "undid an edit", preview: "previewed a correction" };

/** What there is to say besides, in words. */
function detail(value) {
  if (value === null || value === undefined || value === "") return null;
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, one]) => `${name}: ${typeof one === "object" ? JSON.stringify(one) : one}`).join(", ");
}

/** The view; it is loaded anew each time it is shown. */
export function auditView() {
  const heading = el("h1", { tabIndex: -1 }, "Audit");
  const list = listing({
    path: (after) => `v1/audit?limit=${PAGE}${after ? `&after=${encodeURIComponent(after)}` : ""}`,
    row: (entry) =>
      el(
        "li",
        { class: "line" },
        el("time", { datetime: entry.time, class: "soft small" }, when(entry.time)),
        el(
          "div",
          { class: "stack tight" },
          el("p", {}, el("span", { class: "id" }, said(entry.key ?? "nobody")), " ", ACTIONS[entry.action] ?? said(entry.action), entry.edit ? [" ", named(entry.edit)] : null),
          detail(entry.detail) ? el("p", { class: "soft small clamped" }, said(detail(entry.detail))) : null,
        ),
        el("span", { class: "soft small" }, said(entry.tenant ?? ""), entry.version === null || entry.version === undefined ? null : ` · version ${entry.version}`),
      ),
    empty: () => el("p", { class: "soft" }, "Nothing has been done yet."),
    kind: "ol",
    className: "lines card",
  });
  const body = el("div", { class: "stack" });
  return {
    node: el("div", { class: "stack narrow" }, heading, el("p", { class: "soft" }, "Every edit, undo and preview, by whose key. Nothing is ever taken out."), body),
    shown() {
      if (may("admin")) {
        put(body, list.node);
        list.load();
      } else put(body, el("div", { class: "nothing card" }, el("h2", {}, "This needs a key with the scope admin"), el("p", { class: "soft" }, "Sign out, and in again with such a key.")));
    },
    heading,
  };
}
