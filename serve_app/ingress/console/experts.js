// Which experts do the tokens choose?

import { byId, element, percent, show } from "./dom.js";

const NUM_HOTTEST = 5;
let loads = [];

export function showExperts({ data }) {
  loads = data;
  const choice = byId("expert-replica");
  const names = loads.map(nameOf);
  if (names.join() !== [...choice.options].map((option) => option.value).join()) {
    show(choice, ...names.map((name) => element("option", { value: name }, name)));
  }
  byId("expert-choice").hidden = names.length < 2;
  draw();
}

/** Redraw when another replica is chosen, and when the colours change. */
export function watchExperts() {
  byId("expert-replica").addEventListener("change", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

const nameOf = (load) => `${load.pool} · ${load.replica}`;

function draw() {
  const load = loads.find((one) => nameOf(one) === byId("expert-replica").value) ?? loads[0];
  const total = load ? sum(load.counts[0]) : 0;
  if (!total) {
    const why = load
      ? `No tokens in the last ${Math.round(load.window_s)} s.`
      : "No pool counts its experts; count_experts: true in a pool does.";
    show(byId("experts"), element("p", { class: "hint" }, why));
    return;
  }
  const hottest = hottestOf(load.counts);
  const [numLayers, numExperts] = [load.counts.length, load.counts[0].length];
  const about = `${numLayers} layers, ${numExperts} experts, ${total} choices a layer`;
  const map = element("canvas", {
    class: "map",
    role: "img",
    width: numExperts,
    height: numLayers,
    "aria-label": `Load of experts: ${about}. The hottest: ${hottest.map(told).join("; ")}.`,
  });
  const pointed = element("p", { class: "hint pointed" }, `Layers down, experts across: ${about}.`);
  map.addEventListener("pointermove", (event) => {
    const layer = Math.min(numLayers - 1, Math.floor((event.offsetY / map.clientHeight) * numLayers));
    const expert = Math.min(numExperts - 1, Math.floor((event.offsetX / map.clientWidth) * numExperts));
    if (layer >= 0 && expert >= 0) pointed.textContent = told(cell(load.counts, layer, expert));
  });
  const isOpen = byId("experts").querySelector("details")?.open;
  show(byId("experts"), map, pointed, ranksView(load), hottestView(hottest, isOpen));
  paint(map, load.counts);
}

function paint(map, counts) {
  const pen = map.getContext("2d");
  pen.fillStyle = getComputedStyle(map).color;
  counts.forEach((row, layer) => {
    const most = Math.max(...row, 1);
    row.forEach((count, expert) => {
      pen.globalAlpha = Math.sqrt(count / most);
      pen.fillRect(expert, layer, 1, 1);
    });
  });
}

function ranksView(load) {
  if (load.ranks < 2) return null;
  const worst = Math.min(...load.balancedness);
  return element("p", {}, `${load.ranks} ranks; balancedness of the worst layer ${worst.toFixed(2)}`);
}

function hottestView(hottest, isOpen) {
  return element(
    "details",
    { open: isOpen ?? false },
    element("summary", {}, "Hottest experts"),
    element("ol", {}, ...hottest.map((one) => element("li", {}, told(one)))),
  );
}

function cell(counts, layer, expert) {
  const count = counts[layer][expert];
  return { layer, expert, count, share: count / Math.max(1, sum(counts[layer])) };
}

const told = ({ layer, expert, count, share }) => `layer ${layer}, expert ${expert}: ${count} choices, ${percent(share)}`;

function hottestOf(counts) {
  const cells = counts.flatMap((row, layer) => row.map((_, expert) => [layer, expert]));
  cells.sort(([l, e], [m, f]) => counts[m][f] - counts[l][e]);
  return cells.slice(0, NUM_HOTTEST).map(([layer, expert]) => cell(counts, layer, expert));
}

const sum = (row) => row.reduce((total, count) => total + count, 0);
