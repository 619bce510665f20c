"""Where the server's time goes: py-spy recordings of a running server, read and compared."""
