#!lua flags=no-writes,allow-stale
-- Finds which commands a server would refuse this user, and in which words; it runs none of them.
--
-- ARGV  for each command: how many words it has, then the words. Each must be whole: a server may
--       crash that is asked about a command without its keys.
-- Gives a list of {position, words of the refusal; '' where the server has none for it here}.
--
-- A server that cannot be asked (before 7.0, or another product) refuses nothing as far as is known.

if not redis.acl_check_cmd then return {} end

local function refused(command)
  local known, granted = pcall(redis.acl_check_cmd, unpack(command))
  return known and not granted -- a command that the server does not know is not refused to a user
end

-- The right to a command is looked at before whether a script may write: this writes nothing.
local function words_of(command)
  local answer = redis.pcall(unpack(command))
  local words = type(answer) == 'table' and answer.err or ''
  return string.match(words, 'ACL failure in script: (.*)') -- from 7.2 on; before:
    or string.match(words, 'The user executing the script.*') or ''
end

local lacking, position, at = {}, 0, 1
while ARGV[at] do
  local count = tonumber(ARGV[at])
  local command = {unpack(ARGV, at + 1, at + count)}
  if refused(command) then lacking[#lacking + 1] = {position, words_of(command)} end
  position, at = position + 1, at + 1 + count
end
return lacking
