// How is one answer shown while it arrives, and what is said of it afterwards?

import { element, number, seconds, show } from "./dom.js";
import { meaning } from "./reasons.js";

export class AnswerView {
  #text = new Text();
  #reasoning = new Text();
  #isFolded = false;

  constructor() {
    this.summary = element("summary", {}, "Reasoning");
    this.thoughts = element("details", { class: "reasoning", open: true, hidden: true });
    this.thoughts.append(this.summary, element("div", { class: "text" }, this.#reasoning));
    this.calls = element("div", { class: "calls" });
    this.error = element("p", { class: "error", hidden: true });
    this.figures = element("dl", { class: "figures" });
    this.root = element(
      "article",
      { class: "turn answer", "aria-label": "Answer" },
      this.thoughts,
      element("div", { class: "text said" }, this.#text),
      this.calls,
      this.error,
      this.figures,
    );
  }

  reason(text) {
    this.thoughts.hidden = false;
    this.#reasoning.appendData(text);
  }

  say(text) {
    this.#text.appendData(text);
    this.#fold();
  }

  /** Show the calls so far: `[{id, name, arguments}]`, arguments as text that may still grow. */
  showCalls(calls) {
    this.#fold();
    show(
      this.calls,
      ...calls.map((call) =>
        element(
          "div",
          { class: "call" },
          element("h3", {}, "Calls ", element("code", {}, call.name)),
          element("pre", {}, pretty(call.arguments)),
        ),
      ),
    );
  }

  /** Ask for the results of the calls; `onResults` gets their texts in order, once. */
  askResults(calls, onResults) {
    const inputs = calls.map((_, i) => element("textarea", { rows: 1, id: `${this.#id(calls)}-${i}` }));
    const labels = calls.map((call, i) =>
      element("label", { for: inputs[i].id }, `Result of ${call.name}`),
    );
    const form = element("form", { class: "results" });
    inputs.forEach((input, i) => form.append(labels[i], input));
    form.append(element("button", { type: "submit" }, inputs.length > 1 ? "Send results" : "Send result"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.remove();
      onResults(inputs.map((input) => input.value));
    });
    this.calls.append(form);
  }

  #id = (calls) => `result-${calls[0].id}`;

  /** The thoughts make way when the answer begins; a reader who opens them again keeps them. */
  #fold() {
    if (this.#isFolded || this.thoughts.hidden) return;
    this.#isFolded = true;
    this.thoughts.open = false;
  }

  fail(error) {
    const where = [error.status || null, error.code, error.param && `at ${error.param}`];
    const more = where.filter(Boolean).join(", ");
    const id = error.requestId ? ` Request ${error.requestId}.` : "";
    this.error.textContent = `${error.message}${more ? ` (${more})` : ""}${id}`;
    this.error.hidden = false;
  }

  stopped() {
    this.error.textContent = "Stopped.";
    this.error.className = "hint";
    this.error.hidden = false;
  }

  /** Show which pool serves, and what is known of the answer so far. */
  tell({ place, ttftS, tokensPerS, usage, finish, drafts }) {
    const rows = [];
    if (place?.pool) {
      rows.push(["Pool", `${place.pool} · ${place.replica}`], ["Why", meaning(place.reason)]);
    }
    if (ttftS !== null) rows.push(["First token", seconds(ttftS)]);
    if (tokensPerS !== null) rows.push(["Speed", `${number(tokensPerS)} tokens/s`]);
    if (usage) rows.push(["Tokens", `${usage.prompt_tokens} in, ${usage.completion_tokens} out`]);
    if (drafts) rows.push(["Drafts", `${number(drafts.length)} tokens a step, k = ${drafts.k}`]);
    if (finish === "length") rows.push(["Ended", "at the most tokens allowed"]);
    show(
      this.figures,
      ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
    );
  }
}

export function userView({ text, images, effort }) {
  const shown = images.map((image) => element("img", { src: image.url, alt: image.name }));
  return element(
    "article",
    { class: "turn user", "aria-label": "You" },
    text ? element("div", { class: "text" }, text) : null,
    shown.length ? element("div", { class: "images" }, ...shown) : null,
    element("span", { class: `chip effort-${effort}` }, `effort ${effort}`),
  );
}

export function resultView(name, text) {
  return element(
    "article",
    { class: "turn user", "aria-label": `Result of ${name}` },
    element("h3", {}, "Result of ", element("code", {}, name)),
    element("div", { class: "text" }, text),
  );
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
