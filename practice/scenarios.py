"""What is sent to a learner's server when it is measured: the requests of stages 2 and 7 to 9, as scenarios."""

from loadtests.scenarios import Request

READ = Request("GET", "/messages?limit=20", name="read the newest 20")
WRITE = Request("POST", "/messages", json={"text": "Shall we have lunch at the usual place?"}, name="write a message")

reads = {READ: 1}
writes = {WRITE: 1}
mixed = {READ: 1, WRITE: 1}
