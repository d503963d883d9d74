// The page: who is signed in, and which of its views is shown.

import { askView } from "./ask.js";
import { auditView } from "./audit.js";
import { button, el, notice, put, waiting } from "./dom.js";
import { editsView } from "./edits.js";
import { changes, choose, onSignedOut, resume, session, signIn, signOut } from "./session.js";
import { again, signInForm } from "./signin.js";
import { count, told } from "./words.js";

const at = (id) => document.getElementById(id);
const NAMES = ["ask", "edits", "audit"];
const TITLES = { ask: "Ask", edits: "Edits", audit: "Audit" };
const KEY = /^#key=(.+)$/; // the link that the server prints; what follows "#" is never sent
let views = null;

/** Show the view that the address names; the first otherwise. */
function route(moved) {
  if (!views) return;
  const wanted = location.hash.slice(1);
  const name = NAMES.includes(wanted) ? wanted : NAMES[0];
  for (const other of NAMES) {
    at(`view-${other}`).hidden = other !== name;
    const link = document.querySelector(`nav a[href="#${other}"]`);
    if (other === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[name]} · balancedit`;
  views[name].shown();
  if (moved) {
    views[name].heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function enter() {
  onSignedOut(again);
  at("gate").hidden = true;
  put(at("gate"));
  at("bar").hidden = false;
  views = { ask: askView(), edits: editsView(), audit: auditView() };
  for (const name of NAMES) put(at(`view-${name}`), views[name].node);
  at("views").hidden = false;
  paint();
  route(false);
}

/** The gate: the way in, or what stands in it. */
function gate(...inside) {
  onSignedOut(null);
  views = null;
  at("views").hidden = true;
  at("bar").hidden = true;
  at("gate").hidden = false;
  document.title = "Sign in · balancedit";
  put(at("gate"), el("div", { class: "gate card stack" }, el("img", { src: "page/mark.svg", alt: "", class: "art" }), inside));
}

function askForKey(trouble) {
  const form = signInForm(enter, "The server printed a key when it started, or whoever runs it gave you one.");
  gate(el("h1", {}, "balancedit"), trouble ? notice("bad", trouble.title, trouble.remedy) : null, form.node);
  form.focus();
}

async function start() {
  gate(el("h1", {}, "balancedit"), waiting("Loading", 1));
  const [, linked] = KEY.exec(location.hash) ?? [];
  if (linked) history.replaceState(null, "", `${location.pathname}${location.search}`);
  try {
    if (linked) await signIn(decodeURIComponent(linked));
    else if (!(await resume())) return askForKey();
    enter();
  } catch (error) {
    const why = told(error);
    if (linked && why.status === 401) return askForKey(why);
    gate(el("h1", {}, "balancedit"), notice("bad", why.title, why.remedy, button("Try again", start)));
  }
}

function paint() {
  put(
    at("about"),
    el("bdi", {}, session.model || "no model"),
    session.version === null ? null : el("span", { class: "soft", title: `The edits have changed ${count(session.version, "time")}` }, ` · version ${session.version}`),
  );
  const tenants = at("tenants");
  at("whose").hidden = session.tenants.length < 2;
  if (tenants.options.length !== session.tenants.length) put(tenants, session.tenants.map((name) => el("option", { value: name }, name)));
  tenants.value = session.tenant ?? "";
}

changes.addEventListener("changed", paint);
at("skip").addEventListener("click", (event) => {
  event.preventDefault(); // what follows "#" names a view here
  at("main").focus();
});
addEventListener("hashchange", () => (KEY.test(location.hash) ? start() : route(true)));
at("tenants").addEventListener("change", (event) => {
  choose(event.target.value);
  enter(); // nothing of another's stays
});
at("out").addEventListener("click", async () => {
  await signOut();
  sessionStorage.clear();
  location.hash = "";
  askForKey();
});
start();
