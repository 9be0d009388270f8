"""Lua scripts for steps of the transmitter that are whole in the store; keys: `stream_store`.

Each may be run again after its answer was lost.
"""

# KEYS recorded, last...; ARGV bound, remembered (ms), patience (us), then for each: moment, moment
# of what it follows (-1: of anything), id, announcement. Gives how many older ones were dropped,
# then for each 1: it was new, 0: it was known or is outdated, 2: it does not follow the last, which
# whoever recorded it may be about to claim.
RECORD = """
local stream, bound, answer = KEYS[1], tonumber(ARGV[1]), {0}
for i = 2, #KEYS do
  local at = 4 * (i - 1)
  local moment, follows, id = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local last = redis.call('GET', KEYS[i])
  local outcome = 1
  if last then
    local space = string.find(last, ' ', 1, true)
    local then_ = tonumber(string.sub(last, 1, space - 1))
    if id == string.sub(last, space + 1) then
      outcome = 0
    elseif follows >= 0 and follows < then_ and tonumber(moment) - then_ < tonumber(ARGV[3]) then
      outcome = 2
    elseif tonumber(moment) <= then_ then
      outcome = 0
    end
  end
  if outcome == 1 then
    redis.call('XADD', stream, '*', 'a', ARGV[at + 3])
    redis.call('SET', KEYS[i], moment .. ' ' .. id, 'PX', ARGV[2])
  end
  answer[i] = outcome
end
answer[1] = redis.call('XTRIM', stream, 'MAXLEN', bound)
return answer
"""

# What puts an event into a backlog; gives how many were dropped to keep it within its bound.
_PUT = """
local function put(order, claims, number, bound, kept, id, payload)
  if redis.call('HEXISTS', claims, id) == 1 then return 0 end
  redis.call('ZADD', order, redis.call('INCR', number), id)
  redis.call('HSET', claims, id, payload)
  redis.call('PEXPIRE', order, kept)
  redis.call('PEXPIRE', claims, kept)
  local over = redis.call('ZCARD', order) - bound
  if over <= 0 then return 0 end
  local popped = redis.call('ZPOPMIN', order, over)
  for i = 1, #popped, 2 do redis.call('HDEL', claims, popped[i]) end
  return over
end
"""

# KEYS cursor, recorded, streams, number, then order, claims of each event's stream.
# ARGV cursor before, cursor after, bound, kept (ms), then stream, id, claims for each event.
# Gives {0} where another moved the cursor, else {1, how many were dropped for each event}.
HAND_OUT = (
    _PUT
    + """
local known = redis.call('GET', KEYS[1]) or '0-0'
if known ~= ARGV[1] then return {known == ARGV[2] and 2 or 0} end
local answer = {1}
for i = 5, #KEYS, 2 do
  local at = 5 + 3 * (i - 5) / 2
  local dropped = 0
  if redis.call('HEXISTS', KEYS[3], ARGV[at]) == 1 then
    local bound, id, claims = tonumber(ARGV[3]), ARGV[at + 1], ARGV[at + 2]
    dropped = put(KEYS[i], KEYS[i + 1], KEYS[4], bound, ARGV[4], id, claims)
  end
  answer[#answer + 1] = dropped
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
redis.call('XDEL', KEYS[2], ARGV[2])
return answer
"""
)

# KEYS order, claims, number; ARGV bound, kept (ms), id, claims.
ENQUEUE = (
    _PUT + "return put(KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4])"
)

# KEYS streams, revision; ARGV id, before ('' for none), after. Gives whether it is so now.
REPLACE = """
local known = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if known == ARGV[3] then return 1 end
if known ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('INCR', KEYS[2])
return 1
"""

# KEYS order, claims; ARGV ids. Gives those that were there.
DONE = """
local gone = {}
for _, id in ipairs(ARGV) do
  if redis.call('HDEL', KEYS[2], id) == 1 then gone[#gone + 1] = id end
  redis.call('ZREM', KEYS[1], id)
end
return gone
"""

# KEYS order, claims; ARGV last index. Gives how many there are, then id and claims of the first.
BACKLOG = """
local answer = {redis.call('ZCARD', KEYS[1])}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[1])) do
  answer[#answer + 1] = id
  answer[#answer + 1] = redis.call('HGET', KEYS[2], id) or ''
end
return answer
"""

# KEYS subjects, revision; ARGV name, subject, bound. Gives whether it is there now.
PUT_SUBJECT = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('INCR', KEYS[2])
return 1
"""
