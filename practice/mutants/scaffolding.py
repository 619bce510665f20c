"""Mistakes of stage 1."""

from practice.mutants.mutant import Change, mutant

MUTANTS = (
    mutant(
        "visits_in_memory_only",
        "scaffolding.restart",
        "Visits are counted in memory, and begin at 0 with each start.",
        Change("node/server.mjs", "await visits.append({});", "visits.entries.push({});"),
    ),
    mutant(
        "visits_lost_under_concurrency",
        "scaffolding.at_once",
        "Two visits at once read the same number, and both write the next one.",
        Change(
            "flask_sqlite/store.py",
            """\
        with self._writing() as db:
            db.execute("INSERT INTO visit DEFAULT VALUES")""",
            """\
        count = self.visits()
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO visit (id) VALUES (?)", [count + 1])""",
        ),
    ),
    mutant(
        "visits_written_later",
        "scaffolding.kill",
        "Visits are counted at once, and written half a second after they were answered.",
        Change(
            "node/server.mjs",
            "await visits.append({});",
            """visits.entries.push({});
    setTimeout(() => visits.append({}).then(() => visits.entries.pop()), 500);""",
        ),
    ),
    mutant(
        "every_request_is_a_visit",
        "scaffolding.count",
        "Whoever asks how many visits there were is counted as one.",
        Change(
            "flask_sqlite/messages.py",
            'return {"count": service.store.visits()}',
            'service.store.visit()\n        return {"count": service.store.visits()}',
        ),
    ),
    mutant(
        "front_page_is_201",
        "scaffolding.answers",
        "A visit is answered like something that was created.",
        Change(
            "flask_sqlite/messages.py", "def hello() -> dict[str, str]:", "def hello() -> tuple[dict[str, str], int]:"
        ),
        Change("flask_sqlite/messages.py", 'or read the newest ones there."}', 'or read the newest ones there."}, 201'),
    ),
    mutant(
        "helper_left_running",
        "scaffolding.stop",
        "The server starts a helper and does not stop it: it stays when the server ends.",
        Change(
            "node/server.mjs",
            "const server = createServer(answer);\n",
            """\
const server = createServer(answer);
spawn("sleep", ["600"], { detached: true, stdio: "ignore" }).unref();
""",
        ),
        Change(
            "node/server.mjs",
            "import { existsSync,",
            'import { spawn } from "node:child_process";\nimport { existsSync,',
        ),
    ),
    mutant(
        "visits_never_committed",
        "scaffolding.restart",
        "The transaction of a visit is never committed: the connection that wrote it sees it, the disk does not.",
        Change(
            "stdlib/app.py",
            """\
        with self.lock, self.db:
            self.db.execute("INSERT INTO visits DEFAULT VALUES")""",
            """\
        with self.lock:
            self.db.execute("INSERT INTO visits DEFAULT VALUES")""",
        ),
    ),
    mutant(
        "visits_forgotten_at_start",
        "scaffolding.restart",
        "The start makes the table anew.",
        Change(
            "stdlib/migrate.py",
            'db.execute("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY)")',
            'db.execute("DROP TABLE IF EXISTS visits")\n    db.execute("CREATE TABLE visits (id INTEGER PRIMARY KEY)")',
        ),
    ),
    mutant(
        "count_is_text",
        "scaffolding.count",
        "The count is a string, not a number.",
        Change("node/server.mjs", "count: visits.entries.length", "count: String(visits.entries.length)"),
    ),
)
