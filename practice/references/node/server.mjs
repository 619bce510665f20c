// A message service in Node, without packages: `node server.mjs --port PORT --data FOLDER`.
import { existsSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { TokenBucket } from "./limit.mjs";
import { Log } from "./log.mjs";
import { FILE, Messages } from "./messages.mjs";
import { Refusal, bytes, checkedLimit, checkedText, jsonObject, pointInTime } from "./reading.mjs";
import { escaped, isFromSlack, isFromTwilio, unescaped } from "./webhooks.mjs";

const TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'; // says nothing back to the phone
const SLACK_HELP = "Write `send TEXT` or `list N`.";

const { values: options } = parseArgs({ options: { port: { type: "string" }, data: { type: "string" } } });
const { PUBLIC_BASE_URL = "", TWILIO_AUTH_TOKEN = "", SLACK_SIGNING_SECRET = "", WRITE_LIMIT = "" } = process.env;

mkdirSync(options.data, { recursive: true });
if (existsSync(join(options.data, "messages.jsonl")) && !existsSync(join(options.data, FILE))) {
  console.error(`the data is that of an older version: run node migrate.mjs --data ${options.data}`);
  process.exit(1);
}
const visits = await Log.open(join(options.data, "visits.jsonl"));
const messages = await Messages.open(options.data);
const writes = new TokenBucket(Number(WRITE_LIMIT));

// The requests that are answered: each function gets what was asked and returns what is sent as JSON, or calls `send`
// itself.
const routes = {
  "GET /": async () => {
    await visits.append({});
    return { greeting: "Hello! Post a message to /messages, or read the newest ones there." };
  },
  "GET /visits": () => ({ count: visits.entries.length }),
  "POST /messages": postMessage,
  "GET /messages": ({ query }) => {
    const limit = checkedLimit(query.get("limit") ?? "20");
    const since = query.has("since") ? pointInTime(query.get("since")) : undefined;
    return { messages: messages.newest(limit, since).map(shown) };
  },
  "GET /messages/:id": ({ id }) => {
    const message = messages.find(id);
    if (!message) throw new Refusal(404, `there is no message ${id}`);
    return { ...shown(message), replies: messages.repliesTo(id).map(shown) };
  },
  "POST /sms": sms,
  "POST /slack/commands": slackCommand,
};

async function postMessage({ request, send }) {
  admit();
  const body = jsonObject(await bytes(request));
  const text = checkedText(body.text);
  const parent = body.reply_to ?? null;
  if (parent !== null && !messages.find(parent)) throw new Refusal(422, "reply_to: there is no such message");
  send(201, shown(await messages.add(text, parent)));
}

async function sms({ request, send }) {
  const form = new URLSearchParams((await bytes(request)).toString());
  // What Twilio signed is the address that it called, which a proxy may have changed on the way here.
  const url = PUBLIC_BASE_URL.replace(/\/$/, "") + request.url;
  if (!isFromTwilio(TWILIO_AUTH_TOKEN, url, form, request.headers["x-twilio-signature"])) {
    throw new Refusal(403, `this is not signed by Twilio for ${url}`);
  }
  const text = form.get("Body") ?? "";
  if (text.trim() !== "") {
    admit();
    // Twilio sends a text again if it has not heard from us: the same MessageSid is the same text.
    await messages.add(checkedText(text), null, form.get("MessageSid") ?? undefined);
  }
  send(200, TWIML, { "Content-Type": "text/xml" });
}

async function slackCommand({ request }) {
  const body = await bytes(request);
  if (!isFromSlack(SLACK_SIGNING_SECRET, body, request.headers)) {
    throw new Refusal(401, "this is not signed by Slack within the last five minutes");
  }
  const words = new URLSearchParams(body.toString()).get("text") ?? "";
  try {
    return { response_type: "ephemeral", text: await obey(words.trim()) };
  } catch (error) {
    if (!(error instanceof Refusal) || error.status === 429) throw error;
    return { response_type: "ephemeral", text: escaped(error.message) }; // Slack shows an answer only if it is 200
  }
}

async function obey(words) {
  const [, verb, rest] = /^(\S*)\s?(.*)$/s.exec(words);
  if (verb === "send") {
    admit();
    await messages.add(checkedText(unescaped(rest)));
    return "Stored.";
  }
  if (verb === "list") {
    const lines = messages.newest(checkedLimit(rest.trim() || "10")).map(({ text }) => escaped(text));
    return lines.join("\n") || "There are no messages yet.";
  }
  return SLACK_HELP;
}

// Counts one write, or refuses it before any work is done for it.
function admit() {
  const wait = writes.secondsToWait();
  if (wait > 0) throw new Refusal(429, "too many writes: try again later", { "Retry-After": Math.ceil(wait) });
}

// What a client is shown of a message.
function shown({ id, text, created_at, reply_to }) {
  return { id, text, created_at, reply_to };
}

async function answer(request, response) {
  const [path, query] = request.url.split(/\?(.*)/s);
  const [, id] = /^\/messages\/([^/]+)$/.exec(path) ?? [];
  const route = routes[`${request.method} ${id ? "/messages/:id" : path}`];
  const send = (status, body, headers = {}) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(text);
  };
  try {
    if (!route) throw new Refusal(404, `${request.method} ${path}: there is nothing here`);
    const document = await route({ request, id, query: new URLSearchParams(query), send });
    if (document) send(200, document);
  } catch (error) {
    if (error instanceof Refusal) return send(error.status, { error: error.message }, error.headers);
    if (request.aborted) return; // nobody is there to be answered
    console.error(error);
    send(500, { error: "something went wrong here" });
  }
}

const server = createServer(answer);
server.keepAliveTimeout = 60_000; // longer than clients keep an unused connection, or theirs would end under a request
server.listen(Number(options.port), "127.0.0.1");
