// What does the user want to send? Reads the form, and refuses what is no JSON before anything is sent.

import { byId, element, show } from "./dom.js";
import { SAMPLES } from "./samples.js";

const BOXES = {
  tools: { name: "tools", is: Array.isArray, wanted: "a JSON array" },
  schema: {
    name: "schema",
    is: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
    wanted: "a JSON object",
  },
};

export class Composer {
  #images = []; // {name, url}

  constructor({ onSend, onStop }) {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const request = this.#read();
      if (request) onSend(request);
    });
    byId("prompt").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!byId("send").disabled) byId("composer").requestSubmit();
    });
    byId("stop").addEventListener("click", onStop);
    byId("files").addEventListener("change", () => this.#attach());
    for (const button of document.querySelectorAll("[data-sample]")) {
      button.addEventListener("click", () => this.#fill(button.dataset.sample));
    }
    for (const box of Object.keys(BOXES)) byId(box).addEventListener("input", () => this.#json(box));
  }

  set isBusy(isBusy) {
    byId("send").disabled = isBusy;
    byId("stop").hidden = !isBusy;
    byId("clear").disabled = isBusy;
  }

  /** Say why nothing was sent; an empty text takes it back. */
  refuse(text) {
    byId("refused").textContent = text;
    byId("refused").hidden = !text;
  }

  clear() {
    byId("prompt").value = "";
    this.#images = [];
    this.#showImages();
  }

  /** Put back what could not be answered, unless something else has been written since. */
  restore({ text, images }) {
    if (byId("prompt").value || this.#images.length) return;
    byId("prompt").value = text;
    this.#images = images;
    this.#showImages();
  }

  #read() {
    this.refuse("");
    const text = byId("prompt").value.trim();
    if (!text && !this.#images.length) {
      byId("prompt").focus();
      return null;
    }
    const [tools, schema] = [this.#json("tools"), this.#json("schema")];
    if (tools === undefined || schema === undefined) {
      byId("shapes").open = true;
      byId(tools === undefined ? "tools" : "schema").focus();
      return null;
    }
    const most = byId("max-tokens");
    if (!most.reportValidity()) return null;
    return {
      text,
      images: this.#images,
      model: byId("model").value,
      effort: document.querySelector("input[name=effort]:checked").value,
      maxTokens: most.value ? Number(most.value) : null,
      tools,
      schema,
    };
  }

  /** Return what is in a box: null if nothing, undefined if it is wrong, which is then said below it. */
  #json(name) {
    const { is, wanted } = BOXES[name];
    const given = byId(name).value.trim();
    let value = null;
    let wrong = "";
    if (given) {
      try {
        value = JSON.parse(given);
        if (!is(value)) wrong = `must be ${wanted}`;
      } catch (error) {
        wrong = `not JSON: ${error.message}`;
      }
    }
    byId(`${name}-wrong`).textContent = wrong;
    byId(name).setAttribute("aria-invalid", String(Boolean(wrong)));
    return wrong ? undefined : value;
  }

  #fill(name) {
    byId(name).value = JSON.stringify(SAMPLES[name].value, null, 2);
    if (!byId("prompt").value) byId("prompt").value = SAMPLES[name].prompt;
    this.#json(name);
  }

  async #attach() {
    const files = [...byId("files").files];
    byId("files").value = ""; // the same file may be chosen again
    const read = await Promise.all(files.map(dataUrl));
    this.#images = [...this.#images, ...read.map((url, i) => ({ name: files[i].name, url }))];
    this.#showImages();
  }

  #showImages() {
    const rows = this.#images.map((image) => {
      const remove = element("button", { type: "button", "aria-label": `Remove ${image.name}` }, "Remove");
      remove.addEventListener("click", () => {
        this.#images = this.#images.filter((other) => other !== image);
        this.#showImages();
        byId("files").focus();
      });
      return element("li", {}, element("img", { src: image.url, alt: image.name }), remove);
    });
    show(byId("images"), ...rows);
  }
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
