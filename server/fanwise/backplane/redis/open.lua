-- Says where channels stand, with what their histories have after the positions that are given. Channels that are not
-- known begin, but for those that are only looked at.
-- KEYS: shard, the meta of each channel, and the history of each channel of whose history something is wanted.
-- ARGV: generation, seed of epochs, channel ms, channel ms while nothing was published to it, bytes of the answer, how
-- many channels there are, the places (from 1) of those that are only looked at, with a space before and behind each,
-- then per wanted history, in the order of the channels: place, epoch and offset.
-- Returns the engine's time in milliseconds, and per channel "epoch head", with a wanted history {"epoch head", text,
-- ...}; false where the answer has no room. The epoch of what is looked at in vain is empty.
-- What a channel costs that wants no history is most of what opening many costs: it has one key and one text.
local call = redis.call
local g = call('HGET', KEYS[1], 'g')
if g ~= ARGV[1] then return redis.error_reply('TURNED ' .. (g or '')) end
local now = call('TIME')
local out, left = {now[1] * 1000 + math.floor(now[2] / 1000)}, tonumber(ARGV[5])
local channels, looks = tonumber(ARGV[6]), ARGV[7] ~= '' and ARGV[7]
local item, history = 8, channels + 1
local wanted = tonumber(ARGV[item] or 0) -- the next place of whose history something is wanted
for place = 1, channels do
  local meta = KEYS[place + 1]
  local has = call('HMGET', meta, 'e', 'o', 'g')
  local epoch, offset = has[1], has[2]
  local known = has[3] == g
  if not known and looks and string.find(looks, ' ' .. place .. ' ', 1, true) then
    epoch, offset = '', '0'
  else
    if not known then -- its history, should there be one, goes with the first publication
      epoch, offset = ARGV[2] .. string.format('%x', place), '0'
      call('HSET', meta, 'e', epoch, 'o', 0, 'r', 0, 'g', g, 'x', 0)
    end
    call('PEXPIRE', meta, offset == '0' and ARGV[4] or ARGV[3])
  end
  local told = epoch .. ' ' .. offset
  if place == wanted then
    local since, after = ARGV[item + 1], ARGV[item + 2]
    item, history = item + 3, history + 1
    wanted = tonumber(ARGV[item] or 0)
    if left > 0 then
      local count = tonumber(offset)
      if since == epoch then count = count - tonumber(after) end
      local texts = count > 0 and call('LRANGE', KEYS[history], -count, -1) or {}
      for _, text in ipairs(texts) do left = left - #text end
      table.insert(texts, 1, told)
      told = texts
    else
      told = false
    end
  end
  out[place + 1] = told
end
return out
