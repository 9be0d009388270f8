#!lua
-- Appends entries to a history (`sidecar.service.ports.store.HistoryAppend`);
-- tests/contracts/test_history.py holds it to the fake that the services are tested with.
--
-- KEYS  the hash of entries
-- ARGV  oldest, until (both microseconds in 16 digits), bound, slack, expiry (unix ms),
--       then field, value for each entry. A value begins with its moment, in 16 digits, and whose
--       share it takes up, to the first zero byte.
-- Gives the positions of the entries that are there as given: none was there, or just this one.
--
-- What is older than `oldest` is not taken. `bound` entries stay: beyond them goes the oldest of
-- the largest share (`sidecar.wire.history.entries.newest_of`). To look through all of them at each
-- append would cost the more the longer a history is: so they are looked through once there are
-- `slack` more than may stay, or once the oldest is older than `until`. The field `first` has the
-- moment of the oldest. What has no moment is nobody's, and counts as the oldest.

local history = KEYS[1]
local oldest, till = ARGV[1], tonumber(ARGV[2])
local bound, slack, expiry = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local CHUNK = 2000

local function moment_of(value)
  local moment = string.sub(value, 1, 16)
  return tonumber(moment) and moment or '0000000000000000'
end

local function share_of(value)
  local zero = string.find(value, '\0', 17, true)
  return zero and string.sub(value, 17, zero - 1) or ''
end

local first = redis.call('HGET', history, 'first')
local before, there, grew = first, {}, false
first = first and moment_of(first)
for i = 6, #ARGV, 2 do
  local moment = moment_of(ARGV[i + 1])
  if tonumber(moment) >= tonumber(oldest) then
    if redis.call('HSETNX', history, ARGV[i], ARGV[i + 1]) == 1 then
      there[#there + 1] = (i - 4) / 2
      grew = true
      if not first or tonumber(moment) < tonumber(first) then first = moment end
    elseif redis.call('HGET', history, ARGV[i]) == ARGV[i + 1] then
      there[#there + 1] = (i - 4) / 2
    end
  end
end
if not first then return there end

local function trim()
  local flat, entries = redis.call('HGETALL', history), {}
  for i = 1, #flat, 2 do
    if flat[i] ~= 'first' then
      local moment = moment_of(flat[i + 1])
      entries[#entries + 1] = {flat[i], tonumber(moment), moment, share_of(flat[i + 1])}
    end
  end
  local function is_newer(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] > b[1]
  end
  table.sort(entries, is_newer)
  local gone, shares, total = {}, {}, 0
  for _, entry in ipairs(entries) do
    if entry[2] < tonumber(oldest) then
      gone[#gone + 1] = entry[1]
    else
      local share = shares[entry[4]] or {}
      shares[entry[4]] = share
      share[#share + 1] = entry
      total = total + 1
    end
  end
  for _ = bound + 1, total do
    local fullest
    for _, share in pairs(shares) do
      if not fullest or #share > #fullest
          or (#share == #fullest and is_newer(fullest[#fullest], share[#share])) then
        fullest = share
      end
    end
    gone[#gone + 1] = table.remove(fullest)[1]
  end
  local last
  for _, share in pairs(shares) do
    local oldest_of = share[#share]
    if oldest_of and (not last or is_newer(last, oldest_of)) then last = oldest_of end
  end
  for i = 1, #gone, CHUNK do
    redis.call('HDEL', history, unpack(gone, i, math.min(i + CHUNK - 1, #gone)))
  end
  return last and last[3]
end

if tonumber(first) < till or redis.call('HLEN', history) - 1 > bound + slack then
  first = trim()
end
if not first then
  redis.call('DEL', history)
  return there
end
if first ~= before then redis.call('HSET', history, 'first', first) end
if grew then redis.call('PEXPIREAT', history, expiry) end
return there
