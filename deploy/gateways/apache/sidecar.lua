-- Asks the sidecar whether a call may pass: `LuaHookAccessChecker sidecar.lua check`.
--
-- Allowed: sets what the app receives. Refused: answers with the sidecar's status, challenge and body.
-- Anything else, an error in here included, is a 503: a hook that declined would let the call pass.

local socket = require "socket"

local HOST, PORT = "127.0.0.1", 8181
-- For the connection and for the answer, in seconds.
local CONNECT, ANSWER = 0.5, 1
local MOST = 65536
local AWAY = '{"type":"urn:stepup-sidecar:problem:unavailable",'
    .. '"title":"This cannot be decided now","status":503}'

local FIELDS = {
    "X-Sidecar-Decision", "X-Sidecar-Decision-Id", "X-Sidecar-Session",
    "X-Sidecar-Subject", "X-Sidecar-Assurance", "X-Sidecar-Step-Up",
}

local RETURNED = {
    "WWW-Authenticate", "Location", "Retry-After", "Vary", "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
}

-- What would end a header line cannot be sent on; Apache refuses it long before.
local function line(name, value)
    if not value or value == "" or value:find("[%c]") then
        return ""
    end
    return name .. ": " .. value .. "\r\n"
end

-- The target as it came, but for the scheme and host of an absolute one (RFC 9112, 3.2.2).
local function target(r)
    return (r.unparsed_uri:gsub("^%a[%w+.-]*://[^/?#]*", "", 1))
end

local function request(r)
    return "GET /v1/check HTTP/1.0\r\nHost: sidecar\r\n"
        .. line("X-Forwarded-Method", r.method)
        .. line("X-Forwarded-Host", r.headers_in["Host"])
        .. line("X-Forwarded-Uri", target(r))
        .. line("X-Forwarded-For", r.useragent_ip)
        .. line("Authorization", r.headers_in["Authorization"])
        .. line("DPoP", r.headers_in["DPoP"])
        -- .. line("Cookie", r.headers_in["Cookie"])     -- with http.token_cookie
        .. line("User-Agent", r.headers_in["User-Agent"])
        -- By these the sidecar recognizes a page that a browser opens, for `redirect`.
        .. line("Accept", r.headers_in["Accept"])
        .. line("Sec-Fetch-Mode", r.headers_in["Sec-Fetch-Mode"])
        .. line("Sec-Fetch-Dest", r.headers_in["Sec-Fetch-Dest"])
        -- By these it recognizes a preflight, and a page that may read a refusal (http.preflight, .cors).
        .. line("Origin", r.headers_in["Origin"])
        .. line("Access-Control-Request-Method", r.headers_in["Access-Control-Request-Method"])
        .. line("X-Auth-Context", r.subprocess_env["SIDECAR_CONTEXT"])
        .. "\r\n"
end

-- The status, the headers by their names in lower case, and the body.
local function ask(r)
    local link = assert(socket.tcp())
    link:settimeout(CONNECT)
    local ok, problem = link:connect(HOST, PORT)
    local answer
    if ok then
        link:settimeout(ANSWER)
        link:settimeout(ANSWER, "t")
        ok, problem = link:send(request(r))
        if ok then
            answer, problem = link:receive("*a")
        end
    end
    link:close()
    assert(answer and #answer <= MOST, problem or "too long")
    local head, body = answer:match("^(.-\r\n)\r\n(.*)$")
    local headers = {}
    for name, value in head:gmatch("\r\n([^:\r\n]+): *([^\r\n]*)") do
        headers[name:lower()] = value
    end
    assert(#body == tonumber(headers["content-length"]), "cut short")
    return tonumber(head:match("^HTTP/1%.[01] (%d%d%d)")), headers, body
end

-- Answers in the app's place. Apache's own error pages would be text/html.
local function refuse(r, status, fields, body)
    r.status = status
    for name, value in pairs(fields) do
        r.err_headers_out[name] = value
    end
    r.content_type = "application/problem+json"
    r:write(body)
    return apache2.DONE
end

local function away(r)
    return refuse(r, 503, { ["Retry-After"] = "1", ["Cache-Control"] = "no-store" }, AWAY)
end

-- What the client may not say. An app on CGI or WSGI takes X_Sidecar_Subject, and maybe
-- X.Sidecar.Subject, for X-Sidecar-Subject. With the others (X-HTTP-Method-Override) it may run
-- another method than the one that is judged.
local STRIPPED = {
    "^x[^%w]sidecar[^%w]", "^x[^%w]http[^%w]method$", "^x[^%w]http[^%w]method[^%w]",
    "^x[^%w]method[^%w]override$",
}

local function strip(r)
    for name in pairs(r:headers_in_table()) do
        for _, pattern in ipairs(STRIPPED) do
            if name:lower():find(pattern) then
                r.headers_in[name] = nil
            end
        end
    end
    -- Apache compares no more than the beginning: it would also upgrade to "websocket2".
    local upgrade = r.headers_in["Upgrade"]
    r.headers_in["Upgrade"] = upgrade and upgrade:lower() == "websocket" and "websocket" or nil
end

function check(r)
    strip(r)
    local fine, status, headers, body = pcall(ask, r)
    if not fine then
        r:err("sidecar: " .. tostring(status))
        return away(r)
    end
    if status == 200 and headers["x-sidecar-decision"] == "allow" then
        for _, name in ipairs(FIELDS) do
            local value = headers[name:lower()]
            if value and value ~= "" then
                r.headers_in[name] = value
            end
        end
        return apache2.DECLINED -- this hook has nothing against it; others are asked, too
    end
    if status == 303 or status == 400 or status == 401 or status == 403 or status == 503 then
        local fields = { ["Cache-Control"] = "no-store" }
        for _, name in ipairs(RETURNED) do
            fields[name] = headers[name:lower()]
        end
        return refuse(r, status, fields, body)
    end
    return away(r)
end
