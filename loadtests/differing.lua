-- Reads the address with a trace context of its own in each request, as callers behind a tracing proxy send it:
-- https://www.w3.org/TR/trace-context/. No two heads are the same. What does not differ is built once.
local before, after, sent

init = function(arguments)
   local request = wrk.format("GET", nil, { traceparent = "00-@-00f067aa0ba902b7-01" })
   before, after = request:match("^(.*)@(.*)$")
   sent = 0
end

request = function()
   sent = sent + 1
   return before .. string.format("%032x", sent) .. after
end
