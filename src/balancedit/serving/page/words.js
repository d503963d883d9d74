// Numbers, times and errors as a person reads them.

const figures = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en-GB");
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const number = (value) => figures.format(value);
export const count = (value, one, many = `${one}s`) => `${whole.format(value)} ${value === 1 ? one : many}`;
export const when = (iso) => (Number.isNaN(Date.parse(iso)) ? String(iso) : moment.format(new Date(iso)));
export const short = (id) => String(id).slice(0, 8);

/** Something that went wrong, in words, with what can be done about it. */
export class Trouble extends Error {
  constructor(title, remedy, about = {}) {
    super(title);
    Object.assign(this, { title, remedy, status: 0, code: null }, about);
  }
}

export const unreachable = () =>
  new Trouble("The server cannot be reached.", "See that it is running and that you are online, then try again. Nothing you wrote is lost.");

// By status: what it is called, and the remedy where the server's own words give none.
const KNOWN = {
  400: ["This cannot be used as it is.", "Change it and try again."],
  401: ["You are signed out.", "Sign in again; nothing you wrote is lost."],
  403: ["This key may not do that.", "Sign in with a key that has the scope for it."],
  404: ["This is no longer there.", "Load the list again."],
  410: ["The preview has expired.", "Preview again; what you wrote is still here."],
  412: ["The edits have changed since you looked.", "Preview again to see what the correction does now."],
  413: ["The picture is too large for the server.", "Choose a smaller one."],
  422: ["This cannot be used as it is.", "Change it and try again."],
  429: ["The server is busy.", "Try again in a moment; nothing you wrote is lost."],
  503: ["The server is not ready.", "It may be starting, stopping, or without its store. Try again in a moment."],
  504: ["The answer took longer than the server allows.", "Try again; if it stays so, ask for less at once."],
};

// Where the server's own words name the thing and the remedy, they stand in place of ours.
const THEIRS = new Set([400, 403, 404, 413, 422, 500]);

// What went wrong within a stream, whose status is sent already, is told by its code.
const BY_CODE = { deadline: 504, overloaded: 429, draining: 503, stopped: 503, store_unavailable: 503 };
export const troubleInStream = (body) => troubleOf(BY_CODE[body.error.code] ?? 500, body, null);

/** The trouble that a reply of the server tells of. */
export function troubleOf(status, body, headers) {
  const error = body?.error ?? {};
  const [title, remedy] = KNOWN[status] ?? ["The server could not do this.", "Try again; its log says more."];
  const wait = Math.ceil(Number(headers?.get("Retry-After")));
  const again = status === 429 && wait > 0 ? `Try again in ${count(wait, "second")}; nothing you wrote is lost.` : remedy;
  const theirs = THEIRS.has(status) && typeof error.message === "string" ? sentence(error.message) : null;
  return new Trouble(title, theirs || again, { status, code: error.code ?? error.type ?? null, param: error.param ?? null });
}

/** Words that begin large and end in a stop. */
export function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? "" : ".");
}

/** Any error as a Trouble; a stop that was asked for is none. */
export function told(error) {
  if (error instanceof Trouble) return error;
  if (error?.name === "AbortError") return null;
  if (error instanceof TypeError) return unreachable();
  return new Trouble("This page has come upon something it does not know.", "Load it again.", { code: String(error) });
}
