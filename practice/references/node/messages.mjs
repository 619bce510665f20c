// The messages: in memory to be read, in a log to last.
import { randomUUID } from "node:crypto";
import { join } from "node:path";

import { Log } from "./log.mjs";

// The log of stage 2 is `messages.jsonl`. Its entries had no time; migrate.mjs makes this file of it.
export const FILE = "messages-2.jsonl";

// Whether a message was created at `since` or later. Those of stage 2 have no time: they are in lists without `since`.
function isSince({ created_at }, since) {
  return since === undefined || (created_at !== null && Date.parse(created_at) >= since);
}

export class Messages {
  #log;
  #byId = new Map();
  #replies = new Map(); // the replies to a message by its id, oldest first
  #sms = new Map(); // the promise of a message by its MessageSid

  static async open(folder) {
    const messages = new Messages();
    messages.#log = await Log.open(join(folder, FILE));
    for (const message of messages.#log.entries) messages.#index(message);
    return messages;
  }

  // Stores a message and resolves with it. The same `sid` twice is the same text, even if both come at once.
  add(text, replyTo = null, sid = undefined) {
    const known = sid && this.#sms.get(sid);
    if (known) return known;
    const message = { id: randomUUID(), text, created_at: new Date().toISOString(), reply_to: replyTo, sid };
    const stored = this.#log.append(message).then(() => this.#index(message));
    if (sid) this.#sms.set(sid, stored);
    return stored;
  }

  // The `limit` newest messages, newest first; only those created at or after `since`, in milliseconds since 1970.
  newest(limit, since = undefined) {
    const entries = this.#log.entries;
    const found = [];
    for (let i = entries.length - 1; i >= 0 && found.length < limit; i--) {
      if (isSince(entries[i], since)) found.push(entries[i]);
    }
    return found;
  }

  find(id) {
    return this.#byId.get(id);
  }

  repliesTo(id) {
    return this.#replies.get(id) ?? [];
  }

  #index(message) {
    this.#byId.set(message.id, message);
    if (message.sid) this.#sms.set(message.sid, Promise.resolve(message));
    if (message.reply_to) {
      if (!this.#replies.has(message.reply_to)) this.#replies.set(message.reply_to, []);
      this.#replies.get(message.reply_to).push(message);
    }
    return message;
  }
}
