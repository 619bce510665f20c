"""A message service in Flask on SQLite: `python app.py --port PORT --data FOLDER`."""

import argparse
import json
import logging
import os
from pathlib import Path

import messages
import webhooks
from flask import Flask, Response
from service import Service
from werkzeug.exceptions import HTTPException


def create_app(data: Path) -> Flask:
    """Return the application, which keeps its database in the folder `data`."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    app.register_error_handler(HTTPException, as_json)
    limit = os.environ.get("WRITE_LIMIT")
    service = Service(data, float(limit) if limit else None)
    messages.add_routes(app, service)
    webhooks.add_routes(app, service)
    return app


def as_json(error: HTTPException) -> Response:
    """Return the answer to a request that was refused, with the headers that belong to its status."""
    answer = Response(json.dumps({"error": error.description}), error.code)
    for name, value in error.get_headers():
        answer.headers[name] = value
    answer.content_type = "application/json"
    return answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the database")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    create_app(options.data).run(port=options.port, threaded=True)
