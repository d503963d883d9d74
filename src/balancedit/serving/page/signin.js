// Signing in: at first, and again in the middle of things when the session has ended.

import { el, field, fresh, notice, put } from "./dom.js";
import { signIn } from "./session.js";
import { told } from "./words.js";

/** The form; `done` is called once signed in. */
export function signInForm(done, words) {
  const key = el("input", { type: "password", autocomplete: "current-password", id: fresh("key"), spellcheck: "false", required: true });
  const trouble = el("div");
  const go = el("button", { type: "submit", class: "main" }, "Sign in");
  const form = el("form", { class: "stack", on: { submit } }, el("p", { class: "soft" }, words), field("Key", key), trouble, go);

  async function submit(event) {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    const given = key.value.trim();
    if (!given) return key.focus();
    form.setAttribute("aria-busy", "true");
    go.textContent = "Signing in …";
    put(trouble);
    try {
      await signIn(given);
      key.value = "";
      done();
    } catch (error) {
      const why = told(error);
      put(trouble, notice("bad", why.title, why.remedy));
      key.setAttribute("aria-invalid", String(why.status === 401));
      key.focus();
      key.select();
    } finally {
      form.removeAttribute("aria-busy");
      go.textContent = "Sign in";
    }
  }
  return { node: form, focus: () => key.focus() };
}

let asking = null;
/** Ask to sign in again, above what is there; several that wait for it are asked for once. */
export function again() {
  asking ??= new Promise((done) => {
    const dialog = el("dialog", { class: "card", "aria-labelledby": "again" });
    const form = signInForm(
      () => {
        asking = null;
        dialog.close();
        dialog.remove();
        done();
      },
      "The session has ended. What you wrote is still here, and goes on once you are signed in.",
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    put(dialog, el("h2", { id: "again" }, "Sign in again"), form.node);
    document.body.append(dialog);
    dialog.showModal();
    form.focus();
  });
  return asking;
}
