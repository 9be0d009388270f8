#!lua
-- Shared work (`sidecar.service.audit.backlog`): a stream, its one group, and what has been counted.
-- tests/contracts/test_backlog.py holds this to the fake that the services are tested with.
--
-- KEYS  the stream of items, the hash of counts
-- ARGV  verb, life (ms), then
--         begin    moment, body                  puts the first item, once; gives 1 where it did
--         put      body, once                    gives 1; 0 where an item put with the same `once`
--                                                waits that nobody has taken yet
--         take     who, stale (ms)               gives {id, body}, or {} where nothing is to be had
--         keep     who, id                       gives 1 where the item still is theirs
--         replace  id, done, expected, body...   gives 1 where the item was not replaced before
--         look                                   gives {begun, left, done, expected, who...}
--
-- What was taken and not kept for `stale` goes to the next who asks, before anything new does.

local GROUP = 'sidecars'
local stream, counts = KEYS[1], KEYS[2]
local verb, life = ARGV[1], ARGV[2]

local function add(body)
  redis.call('XADD', stream, '*', 'body', body)
end

local function keep_alive()
  redis.call('PEXPIRE', stream, life)
  redis.call('PEXPIRE', counts, life)
end

local function begin(moment, body)
  if redis.call('HSETNX', counts, 'begun', moment) == 0 then return 0 end
  add(body)
  keep_alive()
  return 1
end

-- Whether the item that was last put with this `once` is there, and nobody ever took it.
local function waits(once)
  local id = redis.call('HGET', counts, 'once:' .. once)
  if not id or not redis.call('XRANGE', stream, id, id)[1] then return false end
  local taken = redis.pcall('XPENDING', stream, GROUP, id, id, 1)
  return taken.err ~= nil or not taken[1]
end

local function put(body, once)
  if not once or once == '' then
    add(body)
  elseif waits(once) then
    return 0
  else
    local id = redis.call('XADD', stream, '*', 'body', body, 'once', once)
    redis.call('HSET', counts, 'once:' .. once, id)
  end
  keep_alive()
  return 1
end

local function forget_once(id)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  local once = entry and entry[2][4]
  if once and redis.call('HGET', counts, 'once:' .. once) == id then
    redis.call('HDEL', counts, 'once:' .. once)
  end
end

local function item_of(entries)
  local entry = entries and entries[1]
  if not entry then return nil end
  return {entry[1], entry[2][2]}
end

local function take(who, stale)
  if redis.call('EXISTS', stream) == 0 then return {} end
  redis.pcall('XGROUP', 'CREATE', stream, GROUP, '0')  -- refused where it is there already
  local left = redis.call('XPENDING', stream, GROUP, 'IDLE', stale, '-', '+', 1)[1]
  if left then
    local found = item_of(redis.call('XCLAIM', stream, GROUP, who, stale, left[1]))
    if found then return found end
  end
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, who, 'COUNT', 1, 'STREAMS', stream, '>')
  return read and item_of(read[1][2]) or {}
end

local function keep(who, id)
  local held = redis.pcall('XPENDING', stream, GROUP, id, id, 1, who)
  if held.err or not held[1] then return 0 end
  redis.call('XCLAIM', stream, GROUP, who, 0, id, 'JUSTID')
  return 1
end

local function replace(id, done, expected)
  if redis.call('XACK', stream, GROUP, id) == 0 then return 0 end
  forget_once(id)
  redis.call('XDEL', stream, id)
  for i = 6, #ARGV do add(ARGV[i]) end
  if tonumber(done) > 0 then redis.call('HINCRBY', counts, 'done', done) end
  if tonumber(expected) > 0 then redis.call('HINCRBY', counts, 'expected', expected) end
  keep_alive()
  -- With the last item the names of all who ever took one go, too.
  if redis.call('XLEN', stream) == 0 then redis.call('DEL', stream) end
  return 1
end

local function look()
  local known = redis.call('HMGET', counts, 'begun', 'done', 'expected')
  local found = {tonumber(known[1] or 0), redis.call('XLEN', stream), tonumber(known[2] or 0),
    tonumber(known[3] or 0)}
  local pending = redis.pcall('XPENDING', stream, GROUP)
  for _, one in ipairs(pending.err and {} or pending[4] or {}) do found[#found + 1] = one[1] end
  return found
end

local verbs = {begin = begin, put = put, take = take, keep = keep, replace = replace, look = look}
return verbs[verb](unpack(ARGV, 3, 6))
