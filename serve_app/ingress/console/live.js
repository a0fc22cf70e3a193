// How does the live view stay fresh without asking more than it should?

import { ApiError, read } from "./api.js";

const AFTER_ERROR_S = 5;

/** Asks one route again and again while the page is seen, and stops where the key does not allow it. */
export class Live {
  #timer = null;
  #round = 0;

  constructor(path, periodS, { onData, onError }) {
    Object.assign(this, { path, periodS, onData, onError });
    document.addEventListener("visibilitychange", () => this.restart());
  }

  /** Ask now; also after the key has changed. */
  restart() {
    clearTimeout(this.#timer);
    this.#round += 1;
    if (!document.hidden) this.#ask(this.#round);
  }

  async #ask(round) {
    let nextS = this.periodS;
    try {
      const answer = await read(this.path);
      if (round === this.#round) this.onData(answer);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (round === this.#round) this.onError(error);
      nextS = error.status === 401 || error.status === 403 ? null : AFTER_ERROR_S;
    }
    if (round === this.#round && nextS !== null) {
      this.#timer = setTimeout(() => this.#ask(round), nextS * 1000);
    }
  }
}
