// A server to begin with: node server.mjs --port 8000 --data data
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({ options: { port: { type: "string" }, data: { type: "string" } } });
// options.data is the folder for all that must survive a restart.

function answer(response, status, document) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(document));
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (request.method === "GET" && pathname === "/") return answer(response, 200, { hello: "world" });
  answer(response, 404, { error: "there is nothing here" });
});
server.listen(Number(options.port), "127.0.0.1");
