-- Three reads of the address to each sending of the body given after `--`. The requests are built once.
local turn, requests = 0, {}

init = function(arguments)
   local read = wrk.format("GET")
   local path = wrk.path:gsub("%?.*", "")
   local post = wrk.format("POST", path, { ["Content-Type"] = "application/json" }, arguments[1])
   requests = { read, read, read, post }
end

request = function()
   turn = turn % #requests + 1
   return requests[turn]
end
