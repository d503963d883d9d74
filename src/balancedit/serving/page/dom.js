// Elements are made here and nowhere else: text only ever becomes a text node, never markup.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "files", "open", "tabIndex"]);

/** An element: `on` holds listeners, `data` a dataset, `class` a class; null and false are left out. */
export function el(name, about = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(about)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [kind, act] of Object.entries(value)) made.addEventListener(kind, act);
    else if (key === "data") Object.assign(made.dataset, value);
    else if (key === "class") made.className = value;
    else if (PROPERTIES.has(key)) made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  put(made, ...children);
  return made;
}

/** Replace what is inside an element; nulls are left out, all else that is no element is text. */
export function put(inside, ...children) {
  inside.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return inside;
}

/** What a person or a model wrote: in its own direction, apart from the text around it. */
export const said = (text, about = {}) => el("bdi", { dir: "auto", ...about }, text);

export const button = (text, act, about = {}) =>
  el("button", { type: "button", on: { click: act }, ...about }, text);

/** A field with its label and, where there is one, a line of help that it is described by. */
export function field(label, control, help) {
  const id = (control.id ||= fresh("field"));
  const line = help ? el("span", { class: "soft small", id: `${id}-help` }, help) : null;
  if (line) control.setAttribute("aria-describedby", line.id);
  return el("div", { class: "field" }, el("label", { for: id }, label), control, line);
}

let made = 0;
/** An id that no other element has. */
export const fresh = (stem) => `${stem}-${++made}`;

/** Something to be told, in words: what it is, the remedy, and what can be done about it. */
export function notice(kind, title, remedy, ...actions) {
  return el(
    "div",
    { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" },
    el("strong", {}, said(title)),
    remedy ? el("span", {}, said(remedy)) : null,
    actions.length ? el("div", { class: "row" }, ...actions) : null,
  );
}

/** Grey places that stand for what is being fetched. */
export const waiting = (what, places = 3) =>
  el(
    "div",
    { class: "waiting", role: "status" },
    el("span", { class: "unseen" }, what),
    Array.from({ length: places }, () => el("div", { class: "place", "aria-hidden": "true" })),
  );

const spoken = () => document.getElementById("spoken");
/** Say something to who cannot see it. */
export function say(text) {
  spoken().textContent = "";
  requestAnimationFrame(() => (spoken().textContent = text));
}

/** Wait until nothing has come for a while, then act once, on the latest. */
export function settled(act, milliseconds) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), milliseconds);
  };
}
