-- Says where channels stand, with what their histories have after the positions that are given.
-- KEYS: shard, then per channel: meta, history. ARGV: generation, seed of epochs, channel ms, channel ms while nothing
-- was published to it, bytes of the answer, then per channel: epoch and offset, or "" and "" if nothing of its history
-- is wanted; "?" and "" where a channel that is not known does not begin: its epoch is empty then.
-- Returns the engine's time in milliseconds, and per channel {epoch, head, texts}; false where the answer has no room.
local call = redis.call
local g = call('HGET', KEYS[1], 'g')
if g ~= ARGV[1] then return redis.error_reply('TURNED ' .. (g or '')) end
local now = call('TIME')
local out, left = {now[1] * 1000 + math.floor(now[2] / 1000)}, tonumber(ARGV[5])
for item = 6, #ARGV, 2 do
  local meta, history = KEYS[item - 4], KEYS[item - 3]
  if left <= 0 then
    out[#out + 1] = false
  else
    local has = call('HMGET', meta, 'e', 'o', 'g')
    local epoch, offset = has[1], tonumber(has[2] or 0)
    if has[3] ~= g and ARGV[item] == '?' then
      epoch, offset = '', 0
    elseif has[3] ~= g then
      epoch, offset = ARGV[2] .. string.format('%x', item), 0
      call('DEL', history)
      call('HSET', meta, 'e', epoch, 'o', 0, 'r', 0, 'g', g, 'x', 0)
    end
    call('PEXPIRE', meta, offset == 0 and ARGV[4] or ARGV[3])
    local texts = {}
    if ARGV[item + 1] ~= '' then
      local count = offset
      if ARGV[item] == epoch then count = offset - tonumber(ARGV[item + 1]) end
      if count > 0 then texts = call('LRANGE', history, -count, -1) end
    end
    for _, text in ipairs(texts) do left = left - #text end
    out[#out + 1] = {epoch, offset, texts}
  end
end
return out
