-- Sends the body given after `--` again and again, each time with an Idempotency-Key of its own, as a client does that
-- may have to send it again. What does not differ is built once.
local before, after, sent

init = function(arguments)
   local headers = { ["Content-Type"] = "application/json", ["Idempotency-Key"] = "@@" }
   local request = wrk.format("POST", nil, headers, arguments[1])
   local start, stop = request:find("@@", 1, true)
   before, after = request:sub(1, start - 1), request:sub(stop + 1)
   sent = 0
   run = os.time() .. "-" .. tostring(arguments):gsub("%W", "")
end

request = function()
   sent = sent + 1
   return before .. run .. "-" .. sent .. after
end
