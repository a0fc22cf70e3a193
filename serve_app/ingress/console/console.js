// How do the parts of the page come together?

import { ApiError, key, read } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { showDecisions } from "./decisions.js";
import { byId, element, show } from "./dom.js";
import { showExperts, watchExperts } from "./experts.js";
import { Live } from "./live.js";
import { draftsOf, showPools } from "./pools.js";

const composer = new Composer({ onSend: send, onStop: () => conversation.stop() });
const conversation = new Conversation({
  turns: byId("turns"),
  progress: byId("progress"),
  onBusy: (isBusy) => (composer.isBusy = isBusy),
  draftsOf,
});

const panel = (path, periodS, place, onData) =>
  new Live(path, periodS, {
    onData,
    onError: (error) => show(byId(place), element("p", { class: "error" }, error.message)),
  });

const panels = [
  panel("venturi/pools", 1, "pools", showPools),
  panel("venturi/decisions?limit=40", 2, "decisions", showDecisions),
  panel("venturi/experts", 10, "experts", showExperts),
];

async function send(request) {
  if (conversation.waitsForResults) {
    composer.refuse("The model waits for the results of its calls: send them, or begin a new conversation.");
    return;
  }
  composer.clear();
  if (!(await conversation.ask(request))) composer.restore(request);
  byId("prompt").focus();
}

async function connect() {
  try {
    const models = (await read("v1/models")).data.map((card) => card.id);
    show(byId("model"), ...models.map((name) => element("option", { value: name }, name)));
    tellServer("connected", `Serving ${models[0]}`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    tellServer("failed", error.message);
    if (error.status === 401) byId("key").focus();
  }
  for (const live of panels) live.restart();
}

function tellServer(state, text) {
  byId("server").className = `server ${state}`;
  byId("server").textContent = text;
}

byId("key").value = key.get();
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value.trim());
  connect();
});
byId("clear").addEventListener("click", () => {
  conversation.clear();
  composer.refuse("");
  byId("prompt").focus();
});
watchExperts();
connect();
