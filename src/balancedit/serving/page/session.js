// Who is signed in, which model answers, and how to sign in again without losing what is here.

import { Trouble, troubleOf, unreachable } from "./words.js";

// What a scope lets a key do.
const WIDER = { ask: ["ask"], edit: ["ask", "edit"], admin: ["ask", "edit", "admin"] };

export const address = (path) => new URL(String(path).replace(/^\//, ""), document.baseURI);

const NOBODY = { csrf: null, scopes: [], tenant: null, tenants: [], model: null, version: null };
export const session = { ...NOBODY };

/** "changed" is sent when the model, the version of the edits, or who is signed in becomes another. */
export const changes = new EventTarget();
const changed = () => changes.dispatchEvent(new Event("changed"));

let again = null; // () => Promise: asks the person to sign in again
export const onSignedOut = (ask) => (again = ask);

export const may = (scope) => session.scopes.includes(scope);

/** Whose edits: sent only where the key lets one choose. */
const whose = () => (session.tenants.length > 1 ? { "Balancedit-Tenant": session.tenant } : {});

async function send(path, { method = "GET", body, headers = {}, signal } = {}) {
  const all = { Accept: "application/json", ...whose(), ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (session.csrf && method !== "GET") all["X-Balancedit-CSRF"] = session.csrf;
  try {
    return await fetch(address(path), {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
}

async function troubleIn(response) {
  return troubleOf(response.status, await response.json().catch(() => null), response.headers);
}

/** A reply that is well, signing in again in between where that is what is missing. */
export async function reply(path, how = {}) {
  let renewed = false;
  for (;;) {
    const response = await send(path, how);
    note(response.headers.get("Balancedit-Version"));
    if (response.ok) return response;
    const trouble = await troubleIn(response);
    if (trouble.status !== 401 && trouble.code !== "csrf") throw trouble;
    // Another tab may have signed in since: then the cookie is good and only its word is not.
    const held = !renewed && (renewed = true) && (await resume());
    if (!held && !again) throw trouble;
    if (!held) await again();
    how.signal?.throwIfAborted();
  }
}

/** The same as JSON. */
export async function call(path, how) {
  const response = await reply(path, how);
  const held = await response.json().catch(() => {
    throw new Trouble("The server's reply cannot be read.", "Try again; a proxy in between may have changed it.");
  });
  note(held?.version);
  return held;
}

/** Remember at which version of the edits the server is. */
export function note(version) {
  const seen = Number.parseInt(version, 10);
  if (Number.isNaN(seen) || seen === session.version) return;
  session.version = seen;
  changed();
}

function take(held) {
  const tenants = held.tenants ?? [held.tenant];
  const tenant = tenants.includes(session.tenant) ? session.tenant : held.tenant;
  Object.assign(session, { csrf: held.csrf, scopes: WIDER[held.scope] ?? [], tenants, tenant, model: held.model });
  changed();
}

/** From now on another's edits. */
export function choose(tenant) {
  Object.assign(session, { tenant, version: null });
  changed();
}

/** Sign in; raises the trouble where the key is not one. */
export async function signIn(key) {
  if (!session.csrf) await resume(); // a session that is still held wants its word, to begin another
  const response = await send("v1/session", { method: "POST", body: { key } });
  if (response.status === 401)
    throw new Trouble("That key is not known here.", "Look for typing mistakes; the server prints a key when it starts.", { status: 401 });
  if (!response.ok) throw await troubleIn(response);
  take(await response.json());
}

export async function signOut() {
  await send("v1/session", { method: "DELETE" }).catch(() => null);
  Object.assign(session, NOBODY);
}

/** Go on with the cookie that is held, if it is still good; returns whether it is. */
export async function resume() {
  const response = await send("v1/session");
  if (response.status === 401) {
    session.csrf = null;
    return false;
  }
  if (!response.ok) throw await troubleIn(response);
  take(await response.json());
  return true;
}

/** A picture of the server as an address that an <img> can show. One of another tenant than the
 *  usual one is fetched, since an <img> cannot say whose it wants. */
export async function pictureAt(path) {
  if (session.tenants.length < 2 || session.tenant === session.tenants[0]) return address(path).href;
  return URL.createObjectURL(await (await reply(path)).blob());
}
