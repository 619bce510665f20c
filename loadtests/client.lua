-- Reads the address with the heads of our own client (`client.MessageClient`, on requests), which says what it has seen:
-- the number changes, as it does for a client that reads beside writers.
local before, after, sent

init = function(arguments)
   local headers = {
      ["User-Agent"] = "python-requests/2.32.5", ["Accept-Encoding"] = "gzip, deflate", ["Accept"] = "*/*",
      ["Connection"] = "keep-alive", ["Lab-Seen"] = "@@",
   }
   local request = wrk.format("GET", nil, headers)
   local start, stop = request:find("@@", 1, true)
   before, after = request:sub(1, start - 1), request:sub(stop + 1)
   sent = 0
end

request = function()
   sent = sent + 1
   return before .. (1 + sent % 900) .. after
end
