-- Keeps a worker's card, forgets those that are too old, and lists the others.
-- KEYS: when each worker was here last (a sorted set), cards (a hash).
-- ARGV: for how many ms cards are kept, worker, card (empty: it is taken back), the most workers that are listed.
-- Returns worker, card, worker, card, ..., the latest first.
local call = redis.call
local now = call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local kept = tonumber(ARGV[1])
if ARGV[3] ~= '' then
  call('ZADD', KEYS[1], string.format('%.0f', ms), ARGV[2])
  call('HSET', KEYS[2], ARGV[2], ARGV[3])
  call('PEXPIRE', KEYS[1], 2 * kept)
  call('PEXPIRE', KEYS[2], 2 * kept)
elseif ARGV[2] ~= '' then
  call('ZREM', KEYS[1], ARGV[2])
  call('HDEL', KEYS[2], ARGV[2])
end
-- A clock that was set back leaves times of the future behind.
local past, future = string.format('(%.0f', ms - kept), string.format('(%.0f', ms + kept)
for _, range in ipairs({{'-inf', past}, {future, '+inf'}}) do
  for _, gone in ipairs(call('ZRANGEBYSCORE', KEYS[1], range[1], range[2], 'LIMIT', 0, 1000)) do
    call('ZREM', KEYS[1], gone)
    call('HDEL', KEYS[2], gone)
  end
end
local most = tonumber(ARGV[4])
if most == 0 then return {} end
local found = {}
for _, worker in ipairs(call('ZREVRANGE', KEYS[1], 0, most - 1)) do
  found[#found + 1] = worker
  found[#found + 1] = call('HGET', KEYS[2], worker) or ''
end
return found
