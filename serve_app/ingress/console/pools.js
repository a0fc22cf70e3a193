// What are the pools doing now?

import { age, byId, element, number, percent, seconds, show } from "./dom.js";

let latest = [];

export function showPools(answer) {
  latest = answer.data;
  show(byId("pools"), ...latest.map(poolView));
}

/** Return what a replica accepts of its draft head lately; null without one. */
export function draftsOf(name) {
  const one = latest.flatMap((pool) => pool.replicas).find((replica) => replica.replica === name);
  return one?.acceptance.length ? { length: one.acceptance_length, k: one.draft_tokens } : null;
}

function poolView(pool) {
  return element(
    "article",
    { class: "pool", "aria-label": `Pool ${pool.pool}` },
    element(
      "h3",
      {},
      pool.pool,
      " ",
      ...pool.efforts.map((effort) => element("span", { class: `chip effort-${effort}` }, effort)),
    ),
    ...(pool.replicas.length
      ? pool.replicas.map((replica) => replicaView(replica, pool))
      : [element("p", { class: "error" }, "No replica has reported.")]),
  );
}

function replicaView(one, pool) {
  const state = one.dropped_by ?? "serving";
  const figures = [
    ["Waiting", String(one.num_waiting)],
    ["Mean batch", number(one.batch_size)],
    ["First token", seconds(one.ttft_s)],
    ["A token", seconds(one.per_token_s)],
  ];
  return element(
    "div",
    { class: "replica" },
    element(
      "p",
      { class: "name" },
      element("code", { title: one.replica }, one.replica),
      element("span", { class: `state ${state}` }, state),
      element("span", { class: "hint" }, age(one.age_s)),
    ),
    gauge("Running", one.num_running, pool.max_num_seqs, `${one.num_running} of ${pool.max_num_seqs}`),
    gauge("KV cache", one.kv_usage, 1, percent(one.kv_usage)),
    element(
      "dl",
      { class: "figures" },
      ...figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
    ),
    pool.speculates ? draftsView(one) : null,
  );
}

function gauge(name, value, most, text) {
  const meter = element("meter", { min: 0, max: most, value, "aria-label": `${name}: ${text}` });
  return element("p", { class: "gauge" }, element("span", {}, name), meter, element("span", { class: "value" }, text));
}

function draftsView(one) {
  const head = `Draft tokens k = ${one.draft_tokens}`;
  if (!one.acceptance.length) return element("p", { class: "drafts hint" }, `${head}; nothing proposed lately`);
  return element(
    "div",
    { class: "drafts" },
    element("p", {}, `${head} · ${number(one.acceptance_length, 2)} tokens a step`),
    ...one.acceptance.map((share, i) => gauge(`Position ${i + 1}`, share, 1, percent(share))),
  );
}
