// A question to the model, and its answer piece by piece.

import { note, reply, session } from "./session.js";
import { Trouble, troubleInStream } from "./words.js";

/** The data of server-sent events, as they come; an unfinished last one is left out. */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += value;
      const whole = held.split(/\r?\n\r?\n/);
      held = whole.pop();
      for (const event of whole) {
        const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (data.length) yield data.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
      }
    }
  } finally {
    await reader.cancel().catch(() => null);
  }
}

/** What has been said so far, and the new question, as the API takes it; the picture comes first. */
export function messages(picture, before, question) {
  const asked = [...before, { question }];
  return asked.flatMap((turn, i) => {
    const text = { type: "text", text: turn.question };
    const shown = i === 0 && picture ? [{ type: "image_url", image_url: { url: picture } }] : [];
    const user = { role: "user", content: [...shown, text] };
    return turn.answer === undefined ? [user] : [user, { role: "assistant", content: turn.answer }];
  });
}

/** Ask; `onPiece` gets each piece of text. Returns the text and the decision behind it. */
export async function ask(said, { base = false, signal, onPiece = () => {} } = {}) {
  const response = await reply("v1/chat/completions", {
    method: "POST",
    body: { model: base ? `${session.model}@base` : session.model, messages: said, stream: true },
    headers: { Accept: "text/event-stream" },
    signal,
  });
  let text = "";
  let decision = null;
  let finished = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") {
      finished = true;
      break;
    }
    const chunk = read(data);
    if (chunk.error) throw troubleInStream(chunk);
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content;
    if (piece) {
      text += piece;
      onPiece(piece);
    }
    if (choice?.finish_reason) finished = true;
    decision = chunk.balancedit ?? decision;
  }
  if (!finished)
    throw new Trouble("The answer broke off.", "The connexion to the server ended in the middle of it. Ask again.");
  note(decision?.version); // the headers were sent before it was known
  return { text, decision };
}

function read(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new Trouble("The answer cannot be read.", "Ask again; a proxy in between may have changed it.");
  }
}
