#!lua
-- Claims what others have taken from a queue and not finished (`sidecar.service.ports.store.Claim`).
--
-- KEYS  queue
-- ARGV  idle (ms), count, group
-- Gives a list of {id, how often it was taken, this time included, payload}.
--
-- Not XAUTOCLAIM, as its answer does not say how often an entry was taken.

local queue, idle, count, group = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local waiting = redis.pcall('XPENDING', queue, group, 'IDLE', idle, '-', '+', count)
if waiting.err then return {} end -- no queue yet, or no group of it
local claimed = {}
for _, entry in ipairs(waiting) do
  local id, times = entry[1], entry[4]
  local got = redis.call('XCLAIM', queue, group, group, idle, id)
  if got[1] then claimed[#claimed + 1] = {id, times + 1, got[1][2][2]} end
end
return claimed
