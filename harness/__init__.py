"""Runs programs on this machine: processes, servers, ports, the embedded mongod, clocks, signals."""
