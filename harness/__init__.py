"""What runs programs on this machine, whoever wrote them: processes, ports, the embedded mongod, clocks, Ctrl-C."""
