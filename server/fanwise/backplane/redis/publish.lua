-- Takes a frame: gives each publication its offset, retains it, and keeps and pushes the frame as one text.
-- All or nothing: Redis refuses for want of memory, disk, replicas or the primary's role before the first write.
-- A run has the publications that follow each other and go to one channel; one with a request is a run of its own.
-- KEYS: shard, live, the sender's latest answer, then per run: meta, history; then requests.
-- ARGV: frame number, generation, seed of epochs, sender, history messages, history bytes, history ms, channel ms,
-- a sixteenth of the live stream's bytes, "run digest" of each run with a request, separated by spaces,
-- "run messages bytes ms" of each run to a channel with another history, how many runs there are, then per run: channel,
-- how many publications, and for each of them: kind with the key's size, key with payload. Runs count from 1.
-- Returns "n", and a line "epoch offset" per run, of its first publication; "!" where the request was used for another
-- publication.
local call = redis.call
local answered = call('GET', KEYS[3])
if answered then
  local at = string.find(answered, ' ', 1, true)
  local last, number = tonumber(string.sub(answered, 1, at - 1)), tonumber(ARGV[1])
  -- A frame of a link that was given up, and that was on its way for long: its sender has gone on since.
  if number < last then return redis.error_reply('LATE frame ' .. ARGV[1] .. ' comes after ' .. last) end
  if number == last then
    -- A write, so that WAIT on this link waits for replicas to have all that came before it.
    local moved = redis.pcall('PEXPIRE', KEYS[3], 900000)
    if type(moved) ~= 'table' then return string.sub(answered, at + 1) end
    if string.find(moved.err, '^READONLY') then return moved end
    return redis.error_reply('AGAIN ' .. ARGV[1] .. ' was taken, and now: ' .. moved.err)
  end
end
local shard = call('HMGET', KEYS[1], 'g', 'n', 'b', 'k')
local g = shard[1]
if g ~= ARGV[2] then return redis.error_reply('TURNED ' .. (g or '')) end
local n, b, k = tonumber(shard[2]) + 1, tonumber(shard[3]), tonumber(shard[4])
local requests = nil
if ARGV[10] ~= '' then
  requests = {}
  local at = 3 + 2 * tonumber(ARGV[12])
  for run, digest in string.gmatch(ARGV[10], '(%d+) (%x+)') do
    at = at + 1
    requests[tonumber(run)] = {KEYS[at], digest}
  end
end
local histories = nil
if ARGV[11] ~= '' then
  histories = {}
  for run, messages, bytes, life in string.gmatch(ARGV[11], '(%d+) (%d+) (%d+) (%d+)') do
    histories[tonumber(run)] = {tonumber(messages), tonumber(bytes), tonumber(life)}
  end
end
local now = call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local stamp = string.format('%.0f', ms)
local all = {tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])}
local answer, texts, sizes = {n}, {}, {}
local item = 13
for run = 1, tonumber(ARGV[12]) do
  local channel, count = ARGV[item], tonumber(ARGV[item + 1])
  local own = histories and histories[run] or all
  local max_messages, max_bytes, ttl = own[1], own[2], own[3]
  local request = requests and requests[run]
  local known = request and call('GET', request[1])
  if known then
    call('PEXPIRE', request[1], 300000) -- a write, so that WAIT on this link waits for what it tells of
    local digest, position = string.match(known, '^(%x+) (.*)$')
    answer[#answer + 1] = digest == request[2] and position or '!'
  else
    local meta, history = KEYS[2 * run + 2], KEYS[2 * run + 3]
    local has = call('HMGET', meta, 'e', 'o', 'r', 'g', 'x')
    local epoch, offset = has[1], tonumber(has[2] or 0)
    local retained, moved = tonumber(has[3] or 0), tonumber(has[5] or 0)
    if has[4] ~= g then
      epoch, offset, retained, moved = ARGV[3] .. string.format('%x', item), 0, 0, 0
    end
    local fresh = offset == 0
    answer[#answer + 1] = epoch .. ' ' .. offset + 1
    local around, after = epoch .. ' ', ' ' .. stamp .. ' ' .. channel .. ' '
    local added, size = {}, 0
    for at = item + 2, item + 2 * count, 2 do
      local payload = ARGV[at + 1]
      offset = offset + 1
      local text = around .. offset .. after .. ARGV[at] .. '\n' .. payload
      size = size + #payload
      added[#added + 1] = text
      texts[#texts + 1] = text
      sizes[#sizes + 1] = #text
    end
    local kept = 0
    if max_messages > 0 then
      kept = call('RPUSH', history, unpack(added))
      if fresh and kept > count then -- of an epoch before, or of a channel that was evicted
        call('LPOP', history, kept - count)
        kept = count
      end
      retained = kept == count and size or retained + size -- the history expires before its channel does
    elseif retained > 0 then
      call('DEL', history)
      retained = 0
    end
    while kept > 1 and (kept > max_messages + 64 or retained > max_bytes) do
      local over = math.min(math.max(kept - max_messages, 16), kept - 1)
      for _, old in ipairs(call('LPOP', history, over)) do
        retained = retained - #old + string.find(old, '\n', 1, true)
      end
      kept = kept - over
    end
    if ms - moved > ttl / 8 then
      call('HSET', meta, 'e', epoch, 'o', offset, 'r', retained, 'g', g, 'x', stamp)
      call('PEXPIRE', meta, ARGV[8])
      call('PEXPIRE', history, ttl + math.floor(ttl / 8))
    else
      call('HSET', meta, 'o', offset, 'r', retained)
    end
    if request then call('SET', request[1], request[2] .. ' ' .. epoch .. ' ' .. offset, 'PX', 300000) end
    b = b + size + 160 * count
  end
  item = item + 2 + 2 * count
end
if #texts == 0 then
  answer[1] = n - 1
  return table.concat(answer, '\n')
end
local frame = g .. ' ' .. n .. ' ' .. ARGV[4] .. ' ' .. table.concat(sizes, ' ') .. '\n' .. table.concat(texts)
call('XADD', KEYS[2], g .. '-' .. n, 'f', frame)
call('PUBLISH', KEYS[2], frame)
local mark = math.floor(b / ARGV[9])
if mark > k then
  call('HSET', KEYS[1], 'n', n, 'b', b, 'k', mark, 'm' .. mark % 16, n)
  local old = call('HGET', KEYS[1], 'm' .. (mark + 1) % 16)
  if old then call('XTRIM', KEYS[2], 'MINID', '~', g .. '-' .. old) end
else
  call('HSET', KEYS[1], 'n', n, 'b', b)
end
local told = table.concat(answer, '\n')
call('SET', KEYS[3], ARGV[1] .. ' ' .. told, 'PX', 900000)
return told
