// A list that the server gives page by page, with its empty, loading and error states.

import { button, el, notice, put, waiting } from "./dom.js";
import { call } from "./session.js";
import { told } from "./words.js";

/** path(after): the address of the page behind the row with that id. row(item): its element.
 *  Returns { node, load }; `load` begins anew and keeps what is shown until the first page is there. */
export function listing({ path, row, empty, kind = "ul", className = "stack" }) {
  const items = el(kind, { class: className });
  const foot = el("div", { class: "stack" });
  const node = el("div", { class: "stack" }, items, foot);
  let running = null;
  let last = null;

  async function fetched(anew) {
    running?.abort();
    const mine = (running = new AbortController());
    if (anew) last = null;
    const more = foot.querySelector("button");
    if (more) more.setAttribute("aria-disabled", "true");
    else if (!items.children.length) put(foot, waiting("Loading"));
    try {
      const page = await call(path(last), { signal: mine.signal });
      const rows = page.data ?? [];
      if (anew) put(items);
      const first = rows.map((item) => items.appendChild(row(item)))[0];
      last = rows.at(-1)?.id ?? last;
      put(foot, items.children.length ? null : empty(), page.has_more ? button("Show more", () => fetched(false)) : null);
      if (!anew && first) focusIn(first);
    } catch (error) {
      const why = told(error);
      if (why) put(foot, notice("bad", why.title, why.remedy, button("Try again", () => fetched(anew))));
    }
  }

  return { node, load: () => fetched(true) };
}

/** Go on where the new rows begin, since the button that was pressed has moved. */
function focusIn(row) {
  row.tabIndex = -1;
  row.focus({ preventScroll: true });
}
