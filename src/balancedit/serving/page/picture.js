// The picture that is asked about: dropped, pasted or chosen, and made fit for the server.

import { button, el, fresh, notice, put, said, say } from "./dom.js";
import { Trouble, count, told } from "./words.js";

const AS_IT_IS = new Set(["image/png", "image/jpeg", "image/webp"]); // what every server reads
const MOST_BYTES = 8e6; // in a body of 12 MB, since base64 takes a third more
const MOST_PIXELS = 16e6;

/** A picture as { data, name, note }: a data address that the server takes, and what was done to it. */
export async function prepared(file) {
  const name = file.name || "pasted picture";
  let bitmap;
  try {
    if (!file.size) throw new Error("empty");
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Trouble(`“${name}” cannot be read as a picture.`, "Choose a PNG, JPEG or WebP; the picture before is still here.");
  }
  const pixels = bitmap.width * bitmap.height;
  if (AS_IT_IS.has(file.type) && file.size <= MOST_BYTES && pixels <= MOST_PIXELS)
    return { data: await dataOf(file), name, note: null };
  const side = Math.min(1, Math.sqrt(MOST_PIXELS / 2 / pixels), 4096 / Math.max(bitmap.width, bitmap.height));
  const canvas = el("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * side));
  canvas.height = Math.max(1, Math.round(bitmap.height * side));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const large = file.size > MOST_BYTES || pixels > MOST_PIXELS;
  const made = await new Promise((done) => canvas.toBlob(done, large ? "image/jpeg" : "image/png", 0.92));
  if (!made || made.size > MOST_BYTES)
    throw new Trouble(`“${name}” is too large.`, "Choose one below 8 MB and 16 megapixels; the picture before is still here.");
  return { data: await dataOf(made), name, note: large ? "made smaller to fit" : "changed to PNG" };
}

const dataOf = (blob) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(new Trouble("The picture cannot be read.", "Choose it again."));
    reader.readAsDataURL(blob);
  });

const offered = (transfer) => [...(transfer?.files ?? [])];

/** The place for the picture; `onPicture` is told of each new one, or of null when it is taken away. */
export function picturePlace(onPicture) {
  const chooser = el("input", { type: "file", accept: "image/*", id: fresh("picture"), class: "unseen", "aria-label": "Choose a picture" });
  const place = el("div", { class: "picture card" });
  const trouble = el("div");
  let held = null;
  let latest = 0;

  async function take(files) {
    if (!files.length) return;
    const mine = ++latest;
    place.classList.add("busy");
    put(trouble);
    try {
      const made = await prepared(files[0]);
      if (mine !== latest) return;
      set(made);
      if (files.length > 1) put(trouble, notice("warn", `Of ${count(files.length, "file")} the first is shown.`, "A conversation is about one picture."));
      say(`Picture ${made.name} is ready.`);
    } catch (error) {
      const why = told(error);
      if (mine === latest) put(trouble, notice("bad", why.title, why.remedy));
    } finally {
      if (mine === latest) place.classList.remove("busy");
    }
  }

  function set(picture) {
    held = picture;
    chooser.value = "";
    draw();
    onPicture(picture);
  }

  async function example() {
    try {
      const response = await fetch(new URL("page/owl.png", document.baseURI));
      if (response.ok) await take([new File([await response.blob()], "owl.png", { type: "image/png" })]);
    } catch (error) {
      const why = told(error);
      put(trouble, notice("bad", why.title, why.remedy));
    }
  }

  function draw() {
    place.classList.toggle("empty", !held);
    const label = el("label", { for: chooser.id, class: "button" }, held ? "Another picture" : "Choose a picture");
    if (!held) {
      const help = el("p", { class: "soft" }, "Drop a picture here, or paste one.");
      put(place, el("img", { src: "page/mark.svg", alt: "", class: "art" }), help, el("div", { class: "row" }, chooser, label, button("Try an owl", example, { class: "quiet" })));
      return;
    }
    const about = el("p", { class: "soft small" }, said(held.name), held.note ? ` · ${held.note}` : "");
    const away = button("Remove", () => { set(null); chooser.focus(); }, { class: "quiet" });
    put(place, el("img", { src: held.data, alt: `The picture asked about: ${held.name}`, class: "shown" }), about, el("div", { class: "row" }, chooser, label, away));
  }

  chooser.addEventListener("change", () => take([...chooser.files]));
  listen(take, place);
  draw();
  return { node: el("div", { class: "stack" }, place, trouble), get: () => held, focus: () => chooser.focus() };
}

/** Pictures may be dropped anywhere and pasted anywhere; a file that is no picture says so. */
function listen(take, place) {
  let depth = 0;
  const over = (on) => place.classList.toggle("over", on);
  // A view that is left behind (another key, another tenant) listens no more.
  const free = () => place.isConnected && !document.querySelector("dialog[open]");
  const carries = (event) => free() && event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (carries(event)) over(++depth > 0); });
  addEventListener("dragleave", (event) => { if (carries(event)) over((depth = Math.max(0, depth - 1)) > 0); });
  addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    over((depth = 0) > 0);
    take(offered(event.dataTransfer));
  });
  addEventListener("paste", (event) => {
    const files = offered(event.clipboardData);
    if (!files.length || !free() || document.getElementById("view-ask").hidden) return;
    event.preventDefault();
    take(files);
  });
}
