// What clients send, read and checked: each function returns a good value or throws a Refusal.

export const MAX_BODY = 64 * 1024;
const MAX_TEXT = 4000;
const MAX_LIMIT = 1000;
const TIME = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$/;

// An answer other than the one that was asked for.
export class Refusal extends Error {
  constructor(status, message, headers = {}) {
    super(message);
    Object.assign(this, { status, headers });
  }
}

// The bytes of a body. One that is too large is read to its end, and not kept, so that its sender hears the refusal.
export async function bytes(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= MAX_BODY) chunks.push(chunk);
  }
  if (size > MAX_BODY) throw new Refusal(413, `the body has more than ${MAX_BODY} bytes`);
  return Buffer.concat(chunks);
}

export function jsonObject(body) {
  let document;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new Refusal(400, "the body is not JSON in UTF-8");
  }
  if (document === null || typeof document !== "object" || Array.isArray(document)) {
    throw new Refusal(400, 'the body is not a JSON object such as {"text": "hello"}');
  }
  return document;
}

// The text of a message, exactly as it was sent.
export function checkedText(text) {
  const isText = typeof text === "string" && text.trim() !== "" && [...text].length <= MAX_TEXT;
  if (!isText) throw new Refusal(422, `text: give 1 to ${MAX_TEXT} characters, not all of them blank`);
  if (!text.isWellFormed()) throw new Refusal(422, "text: half of a surrogate pair is no character");
  return text;
}

// A number of messages, in digits.
export function checkedLimit(text) {
  const limit = /^[0-9]{1,9}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_LIMIT) throw new Refusal(400, `limit: give a whole number from 1 to ${MAX_LIMIT}`);
  return limit;
}

// An RFC 3339 time with its offset from UTC, in milliseconds since 1970. One between two milliseconds begins at the
// later one.
export function pointInTime(text) {
  const [, day, time, fraction = "", offset] = TIME.exec(text) ?? [];
  const second = Date.parse(`${day}T${time}${offset?.toUpperCase()}`);
  if (Number.isNaN(second)) {
    throw new Refusal(400, "since: give a time and its offset, such as 2026-02-28T12:00:00Z; in a URL write + as %2B");
  }
  return second + Math.ceil(Number(`0.${fraction || "0"}`) * 1000);
}
