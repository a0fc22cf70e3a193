// What has been said so far, and how does the next answer come?

import { AnswerView, resultView, userView } from "./answer.js";
import { ApiError, call, events } from "./api.js";

export class Conversation {
  #messages = [];
  #abort = null;
  #openCalls = null;

  /** `turns`: where answers are shown; `progress`: what a screen reader is told; `draftsOf(replica)`. */
  constructor({ turns, progress, onBusy, draftsOf }) {
    Object.assign(this, { turns, progress, onBusy, draftsOf });
  }

  get waitsForResults() {
    return this.#openCalls !== null;
  }

  clear() {
    this.#messages = [];
    this.#openCalls = null;
    this.turns.replaceChildren();
    this.progress.textContent = "New conversation.";
  }

  stop() {
    this.#abort?.abort();
  }

  /** Ask, and return whether there was an answer; if not, the question is forgotten again. */
  async ask(request) {
    const num = this.#messages.length;
    this.#messages.push({ role: "user", content: contentOf(request) });
    this.#add(userView(request));
    const isAnswered = await this.#answer(request);
    if (!isAnswered) this.#messages.length = num;
    return isAnswered;
  }

  async #answer(request) {
    const view = new AnswerView();
    this.#add(view.root);
    this.#abort = new AbortController();
    this.onBusy(true);
    this.progress.textContent = "Waiting for the answer.";
    const said = new Said();
    try {
      await this.#receive(request, view, said);
      this.progress.textContent = `Answer complete. ${said.text}`;
    } catch (error) {
      if (error.name === "AbortError") view.stopped();
      else if (error instanceof ApiError) view.fail(error);
      else throw error;
      this.progress.textContent = view.error.textContent;
    } finally {
      this.#abort = null;
      this.onBusy(false);
    }
    this.#tell(view, said);
    return this.#keep(request, view, said);
  }

  async #receive(request, view, said) {
    const answer = await call("v1/chat/completions", {
      body: bodyOf(request, this.#messages),
      signal: this.#abort.signal,
    });
    said.place = placeOf(answer.headers);
    this.#tell(view, said);
    for await (const event of events(answer)) {
      if (event.usage) said.usage = event.usage;
      for (const choice of event.choices ?? []) this.#take(choice, view, said);
    }
  }

  #take({ delta = {}, finish_reason: finish }, view, said) {
    const isFollowed = this.#isAtEnd();
    const thought = delta.reasoning ?? delta.reasoning_content;
    if (thought || delta.content || delta.tool_calls?.length) said.tokensCame();
    if (thought) {
      if (!said.reasoning) this.progress.textContent = "Reasoning.";
      said.reasoning += thought;
      view.reason(thought);
    }
    if (delta.content) {
      if (!said.text) this.progress.textContent = "Answering.";
      said.text += delta.content;
      view.say(delta.content);
    }
    if (delta.tool_calls?.length) view.showCalls(said.addCalls(delta.tool_calls));
    if (finish) said.finish = finish;
    if (isFollowed) this.#toEnd();
  }

  /** Remember the answer. What has neither text nor a whole call is no turn. */
  #keep(request, view, said) {
    const calls = said.finish ? said.calls : [];
    if (!said.text && !calls.length) return false;
    const message = { role: "assistant", content: said.text };
    if (calls.length) {
      message.tool_calls = calls.map(({ id, name, arguments: given }) => ({
        id,
        type: "function",
        function: { name, arguments: given },
      }));
      this.#waitForResults(request, view, calls);
    }
    this.#messages.push(message);
    return true;
  }

  #waitForResults(request, view, calls) {
    this.#openCalls = calls;
    view.askResults(calls, async (texts) => {
      if (this.#openCalls !== calls) return; // of a conversation that is over
      const num = this.#messages.length;
      this.#openCalls = null;
      calls.forEach((one, i) => {
        this.#messages.push({ role: "tool", tool_call_id: one.id, content: texts[i] });
        this.#add(resultView(one.name, texts[i]));
      });
      if (await this.#answer(request)) return;
      this.#messages.length = num;
      this.#waitForResults(request, view, calls);
    });
  }

  #tell(view, said) {
    view.tell({ ...said, ttftS: said.ttftS, tokensPerS: said.tokensPerS, drafts: this.draftsOf(said.place?.replica) });
  }

  #add(node) {
    this.turns.append(node);
    this.#toEnd();
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.turns;
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  #toEnd() {
    this.turns.scrollTop = this.turns.scrollHeight;
  }
}

/** What one answer has said, and when. */
class Said {
  text = "";
  reasoning = "";
  calls = [];
  usage = null;
  finish = null;
  place = null;
  #askedMs = performance.now();
  #firstMs = null;
  #lastMs = null;

  tokensCame() {
    this.#lastMs = performance.now();
    this.#firstMs ??= this.#lastMs;
  }

  get ttftS() {
    return this.#firstMs === null ? null : (this.#firstMs - this.#askedMs) / 1000;
  }

  /** Tokens a second after the first; null where nobody has said how many there were. */
  get tokensPerS() {
    const num = this.usage?.completion_tokens;
    return num > 1 && this.#lastMs > this.#firstMs ? (1000 * (num - 1)) / (this.#lastMs - this.#firstMs) : null;
  }

  addCalls(parts) {
    for (const part of parts) {
      const one = (this.calls[part.index] ??= { id: "", name: "", arguments: "" });
      one.id ||= part.id ?? "";
      one.name += part.function?.name ?? "";
      one.arguments += part.function?.arguments ?? "";
    }
    return this.calls;
  }
}

function placeOf(headers) {
  const [pool, replica, reason] = ["pool", "replica", "reason"].map((name) => headers.get(`x-venturi-${name}`));
  return { pool, replica, reason };
}

function contentOf({ text, images }) {
  if (!images.length) return text;
  const parts = images.map((image) => ({ type: "image_url", image_url: { url: image.url } }));
  return text ? [...parts, { type: "text", text }] : parts;
}

function bodyOf({ model, effort, maxTokens, tools, schema }, messages) {
  const body = {
    model,
    messages,
    reasoning_effort: effort,
    stream: true,
    stream_options: { include_usage: true },
  };
  if (maxTokens) body.max_tokens = maxTokens;
  if (tools?.length) body.tools = tools;
  if (schema) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  return body;
}
