#!lua
-- Appends to a queue that several may work on (`sidecar.service.ports.store.Append`).
--
-- KEYS  queue
-- ARGV  payload, bound, group ('' for a queue that is only kept and read)
-- Gives the entry's id; '' where the queue has `bound` entries, and nothing is appended.
--
-- The entry is taken by the group at once, so that it is in the hands of whoever appended it: others
-- claim it when it has lain there for too long.

local queue, payload, bound, group = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]

if redis.call('XLEN', queue) >= bound then return '' end
local id = redis.call('XADD', queue, '*', 'p', payload)
if group ~= '' then
  local taken = redis.pcall('XREADGROUP', 'GROUP', group, group, 'COUNT', 1, 'STREAMS', queue, '>')
  if type(taken) == 'table' and taken.err then
    redis.call('XGROUP', 'CREATE', queue, group, '0')
    redis.call('XREADGROUP', 'GROUP', group, group, 'STREAMS', queue, '>')
  end
end
return id
