-- The first script on each link: is this the data that the caller knows? If not, it begins a new generation.
-- A generation is the engine's time in milliseconds, and above each one that anybody has seen.
-- KEYS: shard, live. ARGV: lineage, "1" if restarts keep what was acknowledged, generation and number that the caller
-- has seen ("0", "0" for none), layout.
-- Returns {generation, number}.
local call = redis.call
local has = call('HMGET', KEYS[1], 'g', 'n', 'r', 'v')
local g, n, lineage = has[1], tonumber(has[2] or 0), has[3]
if has[4] and has[4] ~= ARGV[5] then return redis.error_reply('LAYOUT ' .. has[4]) end
local seen_g, seen_n = tonumber(ARGV[3]), tonumber(ARGV[4])
local fell_back = g and g == ARGV[3] and n < seen_n
if g and not fell_back and tonumber(g) >= seen_g and (lineage == ARGV[1] or ARGV[2] == '1') then
  if lineage ~= ARGV[1] then call('HSET', KEYS[1], 'r', ARGV[1]) end
  return {g, n}
end
local now = call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
if g then ms = math.max(ms, tonumber(g) + 1) end
ms = math.max(ms, seen_g + 1)
local top = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if top then ms = math.max(ms, tonumber(string.match(top[1], '^%d+')) + 1) end
g = string.format('%.0f', ms)
call('DEL', KEYS[1])
call('HSET', KEYS[1], 'v', ARGV[5], 'g', g, 'n', 1, 'b', 0, 'k', 0, 'r', ARGV[1])
call('XADD', KEYS[2], g .. '-1', 'f', g .. ' 1 - \n')
call('PUBLISH', KEYS[2], g .. ' 1 - \n')
return {g, 1}
