-- Sends the body given after `--` again and again. wrk builds the request once: the script costs nothing while it runs.
init = function(arguments)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
   wrk.body = arguments[1]
end
