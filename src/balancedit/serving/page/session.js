// Who is signed in, which model answers, and how to sign in again without losing what is here.

import { Trouble, troubleOf, unreachable } from "./words.js";

// What a scope lets a key do besides.
const WIDER = { ask: ["ask"], edit: ["ask", "edit"], admin: ["ask", "edit", "admin"] };

const address = (path) => new URL(path.replace(/^\//, ""), document.baseURI);

export const session = { csrf: null, scopes: null, tenant: null, model: null, version: null };

/** "changed" is sent when the model, the version of the edits, or who is signed in becomes another. */
export const changes = new EventTarget();

let again = null; // () => Promise: asks the person to sign in again
export const onSignedOut = (ask) => (again = ask);

/** Where the server has named scopes, whether this is among them. */
export const may = (scope) => session.scopes === null || session.scopes.includes(scope);

async function send(path, { method = "GET", body, headers = {}, signal } = {}) {
  const all = { Accept: "application/json", ...headers };
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
  for (;;) {
    const response = await send(path, how);
    note(response.headers.get("Balancedit-Version"));
    if (response.ok) return response;
    const trouble = await troubleIn(response);
    const out = trouble.status === 401 || (trouble.status === 403 && /csrf/i.test(trouble.code ?? ""));
    if (!out || !again) throw trouble;
    await again();
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
  changes.dispatchEvent(new Event("changed"));
}

function take(held) {
  session.csrf = held.csrf ?? null;
  session.scopes = Array.isArray(held.scopes) ? held.scopes : (WIDER[held.scope] ?? null);
  session.tenant = held.tenant ?? null;
}

/** Sign in; raises the trouble where the key is not one. */
export async function signIn(key) {
  const response = await send("v1/session", { method: "POST", body: { key } });
  if (response.status === 401 || response.status === 403)
    throw new Trouble("That key is not known here.", "Look for typing mistakes; the server prints a key when it starts.", { status: 401 });
  if (!response.ok) throw await troubleIn(response);
  take(await response.json());
  await choose();
}

export async function signOut() {
  await send("v1/session", { method: "DELETE" }).catch(() => null);
  Object.assign(session, { csrf: null, scopes: null, tenant: null, model: null, version: null });
}

/** Go on with the cookie that is held, if it is still good; returns whether it is. */
export async function resume() {
  const response = await send("v1/session");
  if (response.status === 401 || response.status === 403) return false;
  if (response.ok) take(await response.json());
  else if (response.status !== 404 && response.status !== 405) throw await troubleIn(response);
  return choose();
}

/** Which model this session asks: the first that is no untouched one. */
async function choose() {
  const response = await send("v1/models");
  if (response.status === 401 || response.status === 403) return false;
  if (!response.ok) throw await troubleIn(response);
  const names = ((await response.json()).data ?? []).map((model) => model.id);
  session.model = names.find((name) => !name.includes("@")) ?? names[0] ?? "";
  changes.dispatchEvent(new Event("changed"));
  return true;
}
