// How does the console talk to the server, and what does it say when that fails?

// The page lies one level below the API, wherever that is.
const ROOT = new URL("..", import.meta.url);
const KEY = "venturi.key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** An error as the server words it; `status` 0: there was no answer. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = null, param = null, requestId = null } = {}) {
    super(message);
    Object.assign(this, { status, code, param, requestId });
  }
}

/** Return the answer to a request; throws ApiError, or AbortError once `signal` is. */
export async function call(path, { body, signal } = {}) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(path, ROOT), {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal,
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached.");
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

export async function read(path) {
  const answer = await call(path);
  try {
    return await answer.json();
  } catch {
    throw new ApiError("The connection was lost in the middle of the answer.");
  }
}

async function refusal(answer) {
  const told = { status: answer.status, requestId: answer.headers.get("x-request-id") };
  const text = await answer.text();
  try {
    return broken(JSON.parse(text).error, told);
  } catch {
    return new ApiError(text.slice(0, 500) || answer.statusText, told);
  }
}

function broken(error, told = {}) {
  return new ApiError(error.message, { ...told, code: error.code, param: error.param });
}

/** Yield the objects of a stream of server-sent events; throws ApiError where the stream says one. */
export async function* events(answer) {
  let rest = "";
  let isDone = false;
  for await (const text of texts(answer.body)) {
    const whole = (rest + text).split("\n\n");
    rest = whole.pop();
    for (const event of whole) {
      const data = event
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trim())
        .join("\n");
      if (data === "[DONE]") isDone = true;
      else if (data) {
        const said = JSON.parse(data);
        if (said.error) throw broken(said.error, { requestId: answer.headers.get("x-request-id") });
        yield said;
      }
    }
  }
  if (!isDone) throw new ApiError("The answer broke off without saying why.");
}

async function* texts(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The connection was lost in the middle of the answer.");
  } finally {
    reader.releaseLock();
  }
}
