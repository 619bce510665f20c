// Brings the messages of stage 2 to the form of stage 3: `node migrate.mjs --data FOLDER`. Harmless if it is run again, or killed.
import { existsSync, fsyncSync, openSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { readWhole, syncFolderOf } from "./log.mjs";
import { FILE } from "./messages.mjs";

const { values: options } = parseArgs({ options: { data: { type: "string" } } });
const before = join(options.data, "messages.jsonl");
const after = join(options.data, FILE);

if (existsSync(before) && !existsSync(after)) {
  // When these messages were sent was not written down, and the time of the migration would be a lie.
  const messages = readWhole(before).map((message) => ({ ...message, created_at: null, reply_to: null }));
  // The file gets its name when it is whole and on the disk: one with this name is never half of one.
  const unfinished = after + ".unfinished";
  writeFileSync(unfinished, messages.map((message) => JSON.stringify(message) + "\n").join(""));
  fsyncSync(openSync(unfinished, "r+"));
  renameSync(unfinished, after);
  syncFolderOf(after);
}
