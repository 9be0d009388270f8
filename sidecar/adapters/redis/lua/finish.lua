#!lua flags=allow-oom
-- Takes entries out of a queue (`sidecar.service.ports.store.Finish`).
--
-- KEYS  queue
-- ARGV  group ('' for a queue that is only kept and read), ids
-- Gives how many there were.
--
-- It runs on a server that is full, too: what it takes out is room that others wait for.
--
-- A queue that is empty goes, with its group: so whether any of many queues holds anything is one
-- question (EXISTS), and an idle sidecar asks no more. No id may be given a second time by that, or
-- whoever repeats this would take out what others have appended since. Ids are a millisecond and a
-- number in it, which begins anew where the queue does: so it goes only in a later millisecond than
-- that of its last id, which shows by the number 0 of one more. Else it stays, empty.

local queue, group = KEYS[1], ARGV[1]
local CHUNK = 2000

local gone = 0
for first = 2, #ARGV, CHUNK do
  local last = math.min(first + CHUNK - 1, #ARGV)
  if group ~= '' then redis.call('XACK', queue, group, unpack(ARGV, first, last)) end
  gone = gone + redis.call('XDEL', queue, unpack(ARGV, first, last))
end
if gone > 0 and redis.call('XLEN', queue) == 0 then
  local id = redis.call('XADD', queue, '*', 'p', '')
  if id:sub(-2) == '-0' then
    redis.call('DEL', queue)
  else
    redis.call('XDEL', queue, id)
  end
end
return gone
