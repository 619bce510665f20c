"""A server to begin with: python app.py --port 8000 --data data"""

import argparse
from pathlib import Path

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    return {"hello": "world"}


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--data", type=Path, required=True, help="the folder for all that must survive a restart")
options = parser.parse_args()
app.run("127.0.0.1", options.port)
