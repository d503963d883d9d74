// Asking: a picture, and a conversation about it.

import { button, el, fresh, put } from "./dom.js";
import { picturePlace } from "./picture.js";
import { session } from "./session.js";
import { turnOf } from "./turn.js";

const DRAFT = "balancedit-question";

/** The view; `node` is put into the page once. */
export function askView() {
  const turns = el("div", { class: "turns" });
  const start = el("div", { class: "start stack" });
  let all = [];

  const picture = picturePlace(() => renew());
  const words = el("textarea", { rows: "1", id: fresh("question"), dir: "auto", placeholder: "What is this?", "aria-describedby": "how-to-send" });
  const send = el("button", { type: "submit", class: "main" }, "Ask");
  const anew = button("New conversation", () => { renew(); words.focus(); }, { class: "quiet", hidden: true });
  const form = el(
    "form",
    { class: "composer card", on: { submit } },
    el("label", { for: words.id, class: "unseen" }, "Your question"),
    words,
    el("div", { class: "row spread" }, el("span", { class: "soft small", id: "how-to-send" }, "Enter asks, Shift and Enter begin a line"), el("span", { class: "row" }, anew, send)),
  );

  words.value = sessionStorage.getItem(DRAFT) ?? "";
  words.addEventListener("input", () => { sessionStorage.setItem(DRAFT, words.value); paint(); });
  words.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });

  function submit(event) {
    event.preventDefault();
    const question = words.value.trim();
    if (!question || busy()) return words.focus();
    const turn = turnOf({ picture: picture.get(), before: [...all], question, onState: paint, onGiveBack: giveBack });
    all.push(turn);
    turns.append(turn.node);
    set("");
    turn.start();
    turn.node.scrollIntoView({ block: "nearest" });
  }

  /** A question that failed goes back to where it was written, unless another is being written. */
  function giveBack(turn) {
    all = all.filter((other) => other !== turn);
    turn.node.remove();
    set(words.value.trim() ? `${turn.question}\n${words.value}` : turn.question);
    words.focus();
  }

  function set(text) {
    words.value = text;
    sessionStorage.setItem(DRAFT, text);
    paint();
  }

  function renew() {
    for (const turn of all) turn.stop();
    all = [];
    put(turns);
    paint();
  }

  const busy = () => all.some((turn) => turn.busy);

  function paint() {
    // Not `disabled`: a button that is cannot be reached with the keyboard to learn what it is.
    send.setAttribute("aria-disabled", String(busy() || !words.value.trim()));
    anew.hidden = all.length === 0;
    start.hidden = all.length > 0;
    words.placeholder = all.length > 0 ? "Ask something else about it" : "What is this?";
  }

  put(
    start,
    el("p", {}, "Show it something, ask, and correct what is wrong:"),
    el("ol", {}, [
      ["Ask.", "See the answer, and which edit gave it."],
      ["Correct.", "Say what it should answer from now on."],
      ["Preview.", "See which questions asked before would get another answer, and how far the edit should reach."],
      ["Commit.", "It is in force at once, and can be undone at any time."],
    ].map(([what, how]) => el("li", {}, el("strong", {}, what), " ", how))),
  );
  paint();
  const column = el("div", { class: "talk" }, start, turns, form);
  const heading = el("h1", { tabIndex: -1 }, "Ask about a picture");
  return {
    node: el("div", {}, heading, el("div", { class: "workbench" }, picture.node, column)),
    shown: () => session.model && paint(),
    heading,
  };
}
