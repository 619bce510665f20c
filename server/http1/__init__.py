"""HTTP/1.1 as a server speaks it (RFC 9112): requests are read, answered in turn, and refused if they are none.

`reading` makes requests of bytes, `connection` has the states of a connection, `answer` is how a request is answered,
and `server` accepts connections and takes them down. Nothing here knows what the service does.
"""
