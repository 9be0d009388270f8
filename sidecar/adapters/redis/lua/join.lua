#!lua
-- `sidecar.domain.values.lattice.join`, done where the record lies; tests/contracts/test_store.py holds
-- the two together. BOUNDS is filled in from that module when the script is loaded.
--
-- KEYS  record, index..., [the index whose members are asked for]
-- ARGV  record's expiry, now (both unix ms), unless, channel ('' for none), want record (1, 0, or
--       the one group of it that is wanted),
--       again (1: this join may have happened already), confirm (1: write in any case), cut (1:
--       groups that grow are cut to their bounds; 0: a later join does that), count of fields, count of indexes, then field, value for each field, then member, expiry
--       for each index.
-- Gives {joined (0 not, 1 joined, 2 joined where there was no record), fields that grew, record as a
-- flat list, members}.
--
-- The write and its news both happen, or neither: a join whose news were refused would publish none
-- when it is done again, as then it brings nothing new. So the rights to all commands that follow the
-- first write are checked before it.
--
-- Three things to know. WAIT waits for what its own connection wrote last: a join that finds all
-- done, by another connection, must write something to be waited for. Lua's `<` on strings follows
-- the locale of the server: `less` does not. And `unpack` has a limit: long argument lists go in
-- chunks.

local BOUNDS = {@BOUNDS@}
local DEFAULT_BOUND = @DEFAULT_BOUND@
local MEMBERS_BOUND = @MEMBERS_BOUND@
local CHUNK = 2000
local AT_ONCE = 10000
local AHEAD = 10

local byte, find, gsub, sub, min = string.byte, string.find, string.gsub, string.sub, math.min

local record_key = KEYS[1]
local expire_at, now, unless, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local wanted, again = ARGV[5], ARGV[6] == '1'
local confirm = ARGV[7] == '1'
local cuts = ARGV[8] == '1'
local field_count, index_count = tonumber(ARGV[9]), tonumber(ARGV[10])

-- Bytewise a < b. What both begin with is skipped eight bytes at a time: most values begin with a
-- moment, of which the first digits are alike.
local function less(a, b)
  if a == b then return false end
  local at = 1
  while sub(a, at, at + 7) == sub(b, at, at + 7) do at = at + 8 end
  for i = at, at + 7 do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return not x or (y ~= nil and x < y) end
  end
end

-- The first twelve bytes of a value as two numbers, in the order of the bytes. Of a shorter value all
-- that is not there counts as zero: where two are alike by this, `less` decides.
local function head_of(value)
  local a, b, c, d, e, f, g, h, i, j, k, l = byte(value, 1, 12)
  if not l then
    a, b, c, d, e, f = a or 0, b or 0, c or 0, d or 0, e or 0, f or 0
    g, h, i, j, k, l = g or 0, h or 0, i or 0, j or 0, k or 0, 0
  end
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f,
    ((((g * 256 + h) * 256 + i) * 256 + j) * 256 + k) * 256 + l
end

-- The group of a field's name; nil where it has no colon and so belongs to none.
local function group_of(field)
  local colon = find(field, ':', 1, true)
  return colon and sub(field, 1, colon - 1)
end

local function bound_of(group)
  return BOUNDS[group] or DEFAULT_BOUND
end

-- Calls `command record_key list...`, in chunks; returns the replies as one list.
local function in_chunks(command, list)
  local replies = {}
  for first = 1, #list, CHUNK do
    local reply = redis.call(command, record_key, unpack(list, first, min(first + CHUNK - 1, #list)))
    if type(reply) == 'table' then
      for i = 1, #reply do replies[#replies + 1] = reply[i] end
    end
  end
  return replies
end

-- A key's expiry only grows. GT alone would not do: it takes a key without expiry for eternal.
local function live_until(key, time)
  local known = redis.call('PEXPIRETIME', key)
  if known == -1 or (known >= 0 and known < tonumber(time)) then
    redis.call('PEXPIREAT', key, time)
  elseif known >= 0 and confirm then
    redis.call('PEXPIREAT', key, known)
  end
end

-- Writes a record of which all is there, so that there is something to wait for. One without an
-- expiry gets that of this join, as it would from any other.
local function write_again()
  local known = redis.call('PEXPIRETIME', record_key)
  redis.call('PEXPIREAT', record_key, known >= 0 and known or expire_at)
end

local function members()
  local key = KEYS[2 + index_count]
  if not key then return {} end
  return redis.call('ZRANGEBYSCORE', key, now, '+inf', 'LIMIT', 0, MEMBERS_BOUND)
end

-- The fields of one group: their names, and their values by name. The server looks for them in a
-- fraction of the time that it takes to hand over all fields, and this script to go through them.
local may_scan
local function of_group(group)
  if may_scan == nil then
    may_scan = not redis.acl_check_cmd or redis.acl_check_cmd('HSCAN', record_key, '0')
  end
  local prefix, names, value_of = group .. ':', {}, {}
  local size = #prefix
  local function take(flat)
    for i = 1, #flat, 2 do
      local name = flat[i]
      if not value_of[name] and sub(name, 1, size) == prefix then
        names[#names + 1] = name
        value_of[name] = flat[i + 1]
      end
    end
  end
  if may_scan then
    local pattern, cursor = gsub(prefix, '[%*%?%[%]\\]', '\\%0') .. '*', '0'
    repeat
      local reply = redis.call('HSCAN', record_key, cursor, 'MATCH', pattern, 'COUNT', AT_ONCE)
      cursor = reply[1]
      take(reply[2])
    until cursor == '0'
  else
    take(redis.call('HGETALL', record_key))
  end
  return names, value_of
end

local function record()
  if wanted == '1' then return redis.call('HGETALL', record_key) end
  if wanted == '0' then return {} end
  local found, names, value_of = {}, of_group(wanted)
  for i = 1, #names do
    found[2 * i - 1] = names[i]
    found[2 * i] = value_of[names[i]]
  end
  return found
end

-- Names of fields that have fallen are its keys.
local dropped = {}

-- Cuts a group down to its bound; the names of the fields that fall become keys of `dropped`.
-- Greater values stay, and of equal ones greater names: the same rule as in the lattice. Nearly
-- always a group has grown by one field, and it is not sorted to find the least.
local function cut(names, bound, value_of)
  local fallen = {}
  if #names == bound + 1 then
    local least, value = names[1], value_of[names[1]]
    local high, low = head_of(value)
    for i = 2, #names do
      local one = value_of[names[i]]
      local above, below = head_of(one)
      local is_less
      if one == value then
        is_less = less(names[i], least)
      elseif above ~= high then
        is_less = above < high
      elseif below ~= low then
        is_less = below < low
      else
        is_less = less(one, value)
      end
      if is_less then least, value, high, low = names[i], one, above, below end
    end
    fallen[1] = least
  else
    table.sort(names, function(a, b)
      if value_of[a] == value_of[b] then return less(b, a) end
      return less(value_of[b], value_of[a])
    end)
    for i = bound + 1, #names do fallen[#fallen + 1] = names[i] end
  end
  for _, name in ipairs(fallen) do dropped[name] = true end
  in_chunks('HDEL', fallen)
end

-- Cuts down those of the groups (keys of `grown`) that are over their bounds.
local function cut_all(grown)
  local size = redis.call('HLEN', record_key)
  for group in pairs(grown) do
    local bound = bound_of(group)
    if size > bound then
      local names, value_of = of_group(group)
      if #names > bound then cut(names, bound, value_of) end
    end
  end
end

local names, given = {}, {}
for i = 1, field_count do
  names[i] = ARGV[AHEAD + 2 * i - 1]
  given[i] = ARGV[AHEAD + 2 * i]
end

if unless ~= '' then
  local known, ours = redis.call('HGET', record_key, unless), nil
  for i = 1, field_count do
    if names[i] == unless then ours = given[i] end
  end
  if known and not (again and known == ours) then
    if confirm then write_again() end
    return {0, {}, record(), members()}
  end
end

-- Calls a command that the user may not, so that the server refuses the whole in its own words.
local function must(...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(...) then redis.call(...) end
end
if channel ~= '' then
  must('SPUBLISH', channel, '')
  must('HLEN', record_key)
  must('HGETALL', record_key)
  must('HDEL', record_key, '')
end

local known = in_chunks('HMGET', names)
local greater, grew, grown, is_new = {}, {}, {}, true
for i, name in ipairs(names) do
  if known[i] then is_new = false end
  if not known[i] or less(known[i], given[i]) then
    greater[#greater + 1] = name
    greater[#greater + 1] = given[i]
    grew[#grew + 1] = i
    local group = not known[i] and group_of(name)
    if group then grown[group] = true end
  end
end
in_chunks('HSET', greater)
is_new = is_new and #grew > 0 and redis.call('HLEN', record_key) == #grew
if cuts and next(grown) then cut_all(grown) end

-- Published as netstrings (key, then field and value in turn): no library, and any bytes at all. Of a
-- record that began with this join a name that no field has says so.
local changed, news = {}, {#record_key .. ':' .. record_key .. ','}
for _, i in ipairs(grew) do
  if not dropped[names[i]] then
    changed[#changed + 1] = names[i]
    news[#news + 1] = #names[i] .. ':' .. names[i] .. ','
    news[#news + 1] = #given[i] .. ':' .. given[i] .. ','
  end
end
if is_new then news[#news + 1] = '@BEGAN@,0:,' end
if channel ~= '' and #changed > 0 then
  redis.call('SPUBLISH', channel, table.concat(news))
end
-- The answer of a join that was tried before may have been lost: what it brought counts as new.
if again then
  for i, name in ipairs(names) do
    if known[i] == given[i] then changed[#changed + 1] = name end
  end
end

local result = record()
live_until(record_key, expire_at)
local first = AHEAD + 2 * field_count
for i = 1, index_count do
  local key, member, time = KEYS[1 + i], ARGV[first + 2 * i - 1], ARGV[first + 2 * i]
  redis.call('ZADD', key, 'GT', time, member)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. now)
  live_until(key, time)
end
return {is_new and 2 or 1, changed, result, members()}
