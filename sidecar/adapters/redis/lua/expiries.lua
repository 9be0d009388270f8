#!lua flags=no-writes
-- Says when records expire (`sidecar.service.ports.store.Shards.expiries`).
--
-- KEYS  records
-- Gives of each what PEXPIRETIME gives: unix milliseconds; -2, there is none; -1, it never does.
--
-- One question for hundreds: each by itself costs whoever asks many times what it costs the server.

local moments = {}
for place, key in ipairs(KEYS) do moments[place] = redis.call('PEXPIRETIME', key) end
return moments
