// The message service as it was at the end of stage 2: texts and visits, and no time yet.
import { fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({ options: { port: { type: "string" }, data: { type: "string" } } });
mkdirSync(options.data, { recursive: true });

// A file of JSON lines. What is appended is synced to the disk before the call returns.
function open(path) {
  const file = openSync(path, "a+");
  const text = readFileSync(file, "utf8");
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  ftruncateSync(file, Buffer.byteLength(whole)); // a line without its end was never acknowledged
  return {
    entries: whole.split("\n").filter(Boolean).map((line) => JSON.parse(line)),
    append(entry) {
      writeSync(file, JSON.stringify(entry) + "\n");
      fsyncSync(file);
      this.entries.push(entry);
    },
  };
}

const visits = open(join(options.data, "visits.jsonl"));
const messages = open(join(options.data, "messages.jsonl"));

function send(response, status, document) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(document));
}

function post(response, body) {
  let text;
  try {
    text = JSON.parse(body)?.text;
  } catch {
    return send(response, 400, { error: "the body is not JSON" });
  }
  if (typeof text !== "string" || text.length < 1 || [...text].length > 4000) {
    return send(response, 422, { error: "text: give 1 to 4000 characters" });
  }
  const message = { id: String(messages.entries.length + 1), text };
  messages.append(message);
  send(response, 201, message);
}

createServer((request, response) => {
  const [path, query] = request.url.split("?");
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    switch (`${request.method} ${path}`) {
      case "GET /":
        visits.append({});
        return send(response, 200, { greeting: "Hello!" });
      case "GET /visits":
        return send(response, 200, { count: visits.entries.length });
      case "POST /messages":
        return post(response, Buffer.concat(chunks).toString());
      case "GET /messages": {
        const limit = Number(new URLSearchParams(query).get("limit") ?? 20);
        if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
          return send(response, 400, { error: "limit: give a whole number from 1 to 1000" });
        }
        return send(response, 200, { messages: messages.entries.slice(-limit).reverse() });
      }
      default:
        return send(response, 404, { error: "there is nothing here" });
    }
  });
}).listen(Number(options.port), "127.0.0.1");
