// How does anything get onto the page? As elements and text, never as markup.

/** Return an element. `given`: attributes; false and null leave one out. Children are elements or text. */
export function element(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(isThere));
  return made;
}

const isThere = (child) => child !== null && child !== undefined;

export const byId = (id) => document.getElementById(id);

/** Replace what `parent` holds. */
export function show(parent, ...children) {
  parent.replaceChildren(...children.filter(isThere));
}

export const seconds = (value) => {
  if (value === null || value === undefined) return "–";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 10 ? 2 : 1)} s`;
};

export const number = (value, digits = 1) =>
  value === null || value === undefined ? "–" : value.toFixed(digits);

export const percent = (value) => `${Math.round(value * 100)} %`;

/** Return how long ago something was: a moment, or seconds. */
export const age = (value) => (value < 1 ? "now" : `${Math.round(value)} s ago`);
