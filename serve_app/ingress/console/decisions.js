// Where did the last requests go, and why?

import { byId, element, seconds, show } from "./dom.js";
import { meaning } from "./reasons.js";

const NUM_SHOWN = 40;
const known = new Map(); // by ingress replica and number: each answer is of one ingress replica

export function showDecisions({ ingress, data }) {
  for (const entry of data) known.set(`${ingress} ${entry.number}`, entry);
  const newest = [...known].sort(([, a], [, b]) => b.time_s - a.time_s);
  for (const [name] of newest.splice(NUM_SHOWN)) known.delete(name);
  const rows = newest.map(([, entry]) => row(entry));
  if (!rows.length) {
    show(byId("decisions"), element("p", { class: "hint" }, "No requests yet."));
    return;
  }
  (byId("decision-rows") ?? table()).replaceChildren(...rows);
}

function table() {
  const heads = ["Time", "Effort", "Pool", "Why", "First token", "In all"];
  const body = element("tbody", { id: "decision-rows" });
  show(
    byId("decisions"),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Last decisions" },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)))),
        body,
      ),
    ),
  );
  return body;
}

function row(entry) {
  const { measured, predicted, pool, replica, reason, tenant } = entry;
  const time = new Date(entry.time_s * 1000).toLocaleTimeString([], { hour12: false });
  const details = [`request ${entry.request_id || "without an id"}`, entry.route, tenant && `tenant ${tenant}`];
  const first = measured.ttft_s === null ? null : seconds(measured.ttft_s);
  return element(
    "tr",
    { class: entry.status >= 400 ? "failed" : null, title: details.filter(Boolean).join("\n") },
    element("td", {}, time, tenant ? element("small", {}, tenant) : null),
    element("td", {}, element("span", { class: `chip effort-${entry.effort}` }, entry.effort)),
    element("td", {}, pool ?? "–", replica ? element("small", {}, element("code", {}, replica)) : null),
    element("td", {}, entry.status >= 400 ? `${entry.status} ${reason}` : reason, element("small", {}, meaning(reason))),
    element("td", {}, first ?? "–", predicted ? element("small", {}, `predicted ${seconds(predicted.ttft_s)}`) : null),
    element("td", {}, measured.total_s === null ? "under way" : seconds(measured.total_s)),
  );
}
