"""A run folder written by hand: small enough to work out its figures in one's head.

The first second is warm-up, the next two are measured: from 1,700,000,001 to 1,700,000,003.
"""

import json
from collections.abc import Sequence
from pathlib import Path

BEGAN = 1_700_000_001.0
SECONDS = 2.0

# One was due 6 ms before it was sent, and one was never sent.
REQUESTS = """\
due,sent,name,milliseconds,status,outcome
1700000000.000000,1700000000.000000,GET /messages,10.000,200,ok
1700000000.900000,1700000000.900000,GET /messages,50.000,200,ok
1700000000.500000,1700000000.500000,GET /messages,600.000,200,ok
1700000001.200000,1700000001.200000,GET /messages,4.000,200,ok
1700000001.494000,1700000001.500000,POST /messages,8.000,201,ok
1700000001.600000,1700000001.600000,POST /messages refused,2.000,429,refused
1700000001.700000,1700000001.700000,POST /messages,30.000,503,failed
1700000002.000000,1700000002.000000,GET /messages,20.000,304,ok
1700000002.200000,1700000002.200000,GET /messages,0.500,0,failed
1700000002.950000,1700000002.950000,GET /messages,100.000,200,ok
1700000002.900000,1700000004.000000,unsent,0.000,0,unsent
"""

# The server uses 0.2 of a core, then 0.4, then 0.2 again; mongod 0.1 throughout.
CPU = """\
time,role,pid,cpu_seconds
1700000000.500000,server,11,10.000000
1700000000.500000,mongod,12,5.000000
1700000000.500000,machine,0,100.000000
1700000001.500000,server,11,10.200000
1700000001.500000,mongod,12,5.100000
1700000001.500000,machine,0,101.000000
1700000002.500000,server,11,10.600000
1700000002.500000,mongod,12,5.200000
1700000002.500000,machine,0,102.000000
1700000003.500000,server,11,10.800000
1700000003.500000,mongod,12,5.300000
1700000003.500000,machine,0,103.000000
"""

# In the measured time the event loop runs 20 timers, 40 ms late in all; then there are 2 requests inside, then 4.
METRICS = """\
time,name,value
1700000001.000000,event_loop_lag_seconds_sum,1.000
1700000001.000000,event_loop_lag_seconds_count,100
1700000001.500000,http_requests_in_flight,2
1700000002.500000,http_requests_in_flight,4
1700000003.000000,event_loop_lag_seconds_sum,1.040
1700000003.000000,event_loop_lag_seconds_count,120
"""

FAILURES = """\
Method,Name,Error,Occurrences,First Seen,Last Seen
POST,POST /messages,"HTTPError('503 Server Error: Service Unavailable for url: POST /messages')",1,1700000001,1700000001
"""
EXCEPTIONS = "Count,Message,Traceback,Nodes\n"

STATS = """\
Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,\
Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%
GET,GET /messages,7,1,20.0,112.1,0.5,600.0,812.4,2.4,0.3,20,50,100,100,600,600,600,600,600,600,600
POST,POST /messages refused,1,0,2.0,2.0,2.0,2.0,90.0,0.4,0.0,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A
,Aggregated,8,1,20.0,82.7,0.5,600.0,540.2,2.8,0.3,20,50,100,100,600,600,600,600,600,600,600
"""

HISTORY = """\
Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%,\
Total Request Count,Total Failure Count,Total Median Response Time,Total Average Response Time,\
Total Min Response Time,Total Max Response Time,Total Average Content Size
1700000000,0,,Aggregated,0.000000,0.000000,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,0,0,0,0.0,0,0,0
1700000001,4,GET,GET /messages,0.000000,0.000000,0,0,0,0,0,0,0,0,0,0,0,2,0,10,30.0,10,50,812.4
1700000001,4,,Aggregated,0.000000,0.000000,0,0,0,0,0,0,0,0,0,0,0,2,0,10,30.0,10,50,812.4
1700000002,4,GET,GET /messages,2.500000,0.500000,20,50,50,50,50,60,60,70,70,70,70,5,0,10,30.0,4,600,812.4
1700000002,4,,Aggregated,2.500000,0.500000,20,50,50,50,50,60,60,70,70,70,70,7,0,10,30.0,2,600,540.2
1700000003,4,POST,POST /messages,N/A,N/A,8,8,8,8,8,8,8,8,8,8,8,2,1,8,19.0,8,30,90.0
"""


def write(folder: Path, locust_cores: float = 0.5, warnings: Sequence[str] = (), late_ms: float = 1.0) -> Path:
    """Write the run into the new `folder`, with a Locust that uses so much of a core, warns so, and is so late."""
    folder.mkdir(parents=True)
    locust = [f"{BEGAN + second},locust,13,{1 + locust_cores * second}\n" for second in (-0.5, 0.5, 1.5, 2.5)]
    load = {"scenario": "mixed", "users": 4, "seconds": SECONDS, "warmup": 1.0, "rate": None}
    (folder / "requests.csv").write_text(REQUESTS)
    beats = [f"{BEGAN + number / 50},0,{late_ms}\n" for number in range(-50, 100)]
    (folder / "generator.csv").write_text("time,worker,late_ms\n" + "".join(beats))
    (folder / "workers.csv").write_text(f"time,worker,clock_ms\n{BEGAN - 1},0,0.000\n")
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "locust_failures.csv").write_text(FAILURES)
    (folder / "locust_exceptions.csv").write_text(EXCEPTIONS)
    (folder / "cpu.csv").write_text(CPU + "".join(locust))
    (folder / "locust_stats.csv").write_text(STATS)
    (folder / "locust_stats_history.csv").write_text(HISTORY)
    (folder / "run.json").write_text(json.dumps({"load": load, "machine": {"cores": 2}, "warnings": list(warnings)}))
    return folder
