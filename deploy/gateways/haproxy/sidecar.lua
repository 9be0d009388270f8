-- Asks the sidecar whether a call may pass: `http-request lua.sidecar-check`.
--
-- Allowed: sets txn.sidecar_decision and what the app receives. Refused: answers the client with the
-- sidecar's status, headers and body. Anything else: sets nothing, and the configuration refuses.

-- Where the sidecar is: the `listen sidecar` section, whose time-outs count.
local DESTINATION = "abns@stepup-sidecar"
-- The end of patience with that section itself, in milliseconds.
local PATIENCE = 2500

-- Of the client's headers, what the check needs. With http.token_cookie also "cookie".
local FORWARDED = {
    "authorization", "dpop", "user-agent", "accept", "sec-fetch-mode", "sec-fetch-dest",
    "origin", "access-control-request-method",
}
local FIELDS = { "decision", "decision-id", "session", "subject", "assurance", "step-up" }
local RETURNED = {
    "www-authenticate", "content-type", "cache-control", "retry-after", "location",
    "vary", "access-control-allow-origin", "access-control-allow-credentials",
    "access-control-expose-headers",
}

core.register_action("sidecar-check", { "http-req" }, function(txn)
    local sent = txn.http:req_get_headers()
    local headers = {
        ["host"] = { "sidecar" },
        ["x-forwarded-method"] = { txn.sf:method() },
        ["x-forwarded-host"] = { txn.sf:req_fhdr("host") },
        ["x-forwarded-uri"] = { txn.sf:pathq() },
        ["x-forwarded-for"] = { txn.sf:src() },
    }
    for _, name in ipairs(FORWARDED) do
        -- All values: two Authorization headers are for the sidecar to refuse.
        for index = 0, sent[name] and #sent[name] or -1 do
            headers[name] = headers[name] or {}
            table.insert(headers[name], sent[name][index])
        end
    end
    local context = txn:get_var("txn.sidecar_context")
    if context then
        headers["x-auth-context"] = { context }
    end

    local answer = core.httpclient():get({
        url = "http://sidecar/v1/check",
        dst = DESTINATION,
        timeout = PATIENCE,
        headers = headers,
    })
    local status = answer and answer.status or 0
    local given = answer and answer.headers or {}

    if status == 200 then
        for _, name in ipairs(FIELDS) do
            local value = given["x-sidecar-" .. name]
            if value and value[0] ~= "" then
                txn:set_var("txn.sidecar_" .. name:gsub("%-", "_"), value[0])
            end
        end
    elseif status >= 300 and given["x-sidecar-decision"] or status == 400
        or status == 503 and (given["content-type"] or {})[0] == "application/problem+json" then
        local reply = txn:reply({ status = status, body = answer.body })
        for _, name in ipairs(RETURNED) do
            if given[name] then
                reply:add_header(name, given[name][0])
            end
        end
        txn:done(reply)
    end
end)
