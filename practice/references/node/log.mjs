// A file of JSON lines that only grows. What was appended is synced to the disk before `append` resolves.
import { fsyncSync, ftruncateSync, openSync, readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";

export class Log {
  #file;
  #waiting = [];
  #busy = false;

  // Reads the entries of the file at `path`, which is made if there is none.
  static async open(path) {
    const log = new Log();
    log.entries = readWhole(path);
    log.#file = await open(path, "a");
    syncFolderOf(path);
    return log;
  }

  // Resolves when `entry` is on the disk; then it is in `entries` too, and not before: nobody may be shown what a
  // crash can still take back.
  append(entry) {
    return new Promise((resolve) => {
      this.#waiting.push({ entry, resolve });
      if (!this.#busy) this.#flush();
    });
  }

  // Group commit: what comes while one batch is being synced is the next batch. A log that cannot be written keeps no
  // promise any more, so an error is not caught and ends the process.
  async #flush() {
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      await this.#file.appendFile(batch.map(({ entry }) => JSON.stringify(entry) + "\n").join(""));
      await this.#file.datasync();
      for (const { entry, resolve } of batch) {
        this.entries.push(entry);
        resolve(entry);
      }
    }
    this.#busy = false;
  }
}

// The entries of a log. A last line without its end was cut by a crash before anybody was told of it, and is removed.
export function readWhole(path) {
  const file = openSync(path, "a+");
  const text = readFileSync(file, "utf8");
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  ftruncateSync(file, Buffer.byteLength(whole));
  return whole.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

// The name of a new file is an entry of its folder, which is synced like any other file.
export function syncFolderOf(path) {
  fsyncSync(openSync(dirname(path), "r"));
}
